/** What is looked at: run, method, what beside it, and in which of the two views. */

import { Choice, Switch, element } from './dom.js';

export const VIEWS = [
  ['step', 'At this step'],
  ['time', 'Over time'],
];

export class Header {
  constructor(page) {
    this.views = new Switch('View', VIEWS, (view) => page.set({ view }));
    this.run = new Choice('Run', (run) => page.set({ run }));
    this.method = new Choice('Method', (method) => page.set({ method }));
    this.beside = new Choice('Beside it', (chosen) => {
      const [withRun, withMethod] = JSON.parse(chosen);
      page.set({ withRun, withMethod });
    });
    this.element = element(
      'header',
      {},
      page.help.button,
      this.views.element,
      element(
        'div',
        { className: 'fields' },
        this.run.element,
        this.method.element,
        this.beside.element,
      ),
    );
  }

  draw({ runs, state }) {
    const { run, method, withRun, withMethod } = state;
    this.views.draw(state.view);
    this.run.draw([[null, Object.keys(runs).map((name) => [name, name])]], run);
    const methods = Object.keys(runs[run]?.methods ?? {});
    this.method.draw([[null, methods.map((name) => [name, name])]], method);
    this.beside.draw(others(runs, run, method), JSON.stringify([withRun, withMethod]));
  }
}

function others(runs, run, method) {
  const groups = [[null, [[JSON.stringify([null, null]), 'nothing']]]];
  for (const [name, { methods }] of Object.entries(runs)) {
    const options = Object.keys(methods)
      .filter((one) => name !== run || one !== method)
      .map((one) => [JSON.stringify([name, one]), name === run ? one : `${one} of ${name}`]);
    if (options.length) groups.push([name === run ? 'This run' : name, options]);
  }
  return groups;
}
