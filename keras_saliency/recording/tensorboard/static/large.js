/** One probe large: image, map and overlay, what the model says, and how that went over time. */

import { element, explain, write } from './dom.js';
import { faultOf } from './maps.js';
import { Picture } from './picture.js';
import { CHANCE, Plot } from './plot.js';
import { Scrubber } from './scrubber.js';
import { checking, describe, focusing, number, percent, saying } from './words.js';

const SHARPNESS = 320;
const PARTS = [
  ['image', 'Image'],
  ['map', 'Map'],
  ['overlay', 'Overlay'],
];
const CURVES = [
  ['Focus on the object, × chance', 'focus', { held: [0], landmark: CHANCE }],
  ['Probability of its class', 'probability', { held: [0, 1] }],
  ['Score that is explained', 'score', {}],
];

export class Large {
  constructor(page) {
    this.page = page;
    this.title = element('h2', { id: 'large-title' });
    this.facts = element('dl');
    this.scrubber = new Scrubber(page);
    this.scrubber.slider.autofocus = true;
    this.rows = [new Row(), new Row()];
    this.plots = CURVES.map(([title]) => new Plot(title, (step) => page.goToStep(step)));
    const close = {
      className: 'close',
      'aria-label': 'Close',
      onclick: () => this.element.close(),
    };
    this.element = element(
      'dialog',
      {
        'aria-labelledby': 'large-title',
        onclose: () => page.set({ probe: null }),
        onclick: (event) => event.target === this.element && this.element.close(),
        onkeydown: (event) => event.key === 'Tab' && this.#wrap(event),
      },
      element(
        'div',
        { className: 'large' },
        element(
          'div',
          { className: 'bar' },
          this.title,
          element('button', { onclick: () => this.#turn(-1) }, '‹ Previous picture'),
          element('button', { onclick: () => this.#turn(1) }, 'Next picture ›'),
          element('button', close, '✕'),
        ),
        this.scrubber.element,
        ...this.rows.map((row) => row.element),
        this.facts,
        element('div', { className: 'plots' }, ...this.plots.map((plot) => plot.element)),
      ),
    );
  }

  draw(scene) {
    const { source, other, state, step, index } = scene;
    const probe = state.probe === null ? -1 : source.probes.names.indexOf(state.probe);
    if (probe < 0) {
      if (this.element.open) this.element.close();
      return;
    }
    if (!this.element.open) this.element.showModal();
    this.scrubber.draw(scene);
    this.#caption(source, step, probe, scene.guidance.terms);
    explain(this.plots[0].caption, scene.guidance.terms.focus);
    this.rows[0].draw(scene, source, index, probe, other ? `${source.run} · ${source.method}` : '');
    const beside = other ? scene.probeIn(other, probe) : -1;
    this.rows[1].element.hidden = beside < 0;
    if (beside >= 0) {
      this.rows[1].draw(
        scene,
        other,
        scene.indexIn(other),
        beside,
        `${other.run} · ${other.method}`,
      );
    }
    const whenOf = (at) => source.steps.find((one) => one.step === at)?.when ?? String(at);
    CURVES.forEach(([, quantity, style], i) => {
      const points = source.steps.map((one) => [one.step, one[quantity]?.[probe] ?? null]);
      this.plots[i].draw([{ name: '', points }], step?.step, { ...style, whenOf });
    });
  }

  #caption({ probes }, step, probe, terms) {
    const label = probes.labels[probe];
    write(this.title, probes.names[probe]);
    const facts = [
      ['Class', label],
      ['Model', step && saying(step, probe)],
      [
        'Probability of its class',
        step?.probability?.[probe] != null && percent(step.probability[probe]),
      ],
      ['Score', step?.score?.[probe] != null && number(step.score[probe])],
      ['Peak of the map', step && !faultOf(step, probe) && number(step.peak[probe]), terms.peak],
      ['Focus', step && focusing(step, probe)?.replace('focus ', ''), terms.focus],
      ['Is it the map?', checking(step, probe), terms.hiding],
      [
        'Similarity to before',
        step?.similarity?.[probe] != null && number(step.similarity[probe]),
        terms.similarity,
      ],
    ];
    this.facts.replaceChildren(
      ...facts
        .filter(([, value]) => value)
        .map(([name, value, meaning]) => {
          const title = element('span', {}, name);
          explain(title, meaning);
          return element('div', {}, element('dt', {}, title), element('dd', {}, value));
        }),
    );
  }

  /** Go from the last control to the first: the browser would go on to the page around ours. */
  #wrap(event) {
    const controls = [...this.element.querySelectorAll('button, input')];
    const seen = controls.filter(({ offsetParent }) => offsetParent);
    const [end, begin] = event.shiftKey ? [seen[0], seen.at(-1)] : [seen.at(-1), seen[0]];
    if (document.activeElement !== end) return;
    event.preventDefault();
    begin.focus();
  }

  #turn(by) {
    const { source, groups, state } = this.page.scene;
    const order = groups.flatMap(({ probes }) => probes);
    const at = order.indexOf(source.probes.names.indexOf(state.probe));
    this.page.openProbe(order[(at + by + order.length) % order.length]);
  }
}

/** Image, map and overlay of one source, side by side. */
class Row {
  constructor() {
    this.pictures = PARTS.map(() => new Picture(SHARPNESS));
    this.label = element('h3');
    const figures = PARTS.map(([, words], i) =>
      element('figure', {}, this.pictures[i].element, element('figcaption', {}, words)),
    );
    this.element = element(
      'div',
      {},
      this.label,
      element('div', { className: 'parts' }, ...figures),
    );
  }

  draw(scene, source, index, probe, label) {
    write(this.label, label);
    this.label.hidden = !label;
    const name = source.probes.names[probe];
    const step = source.steps[index];
    PARTS.forEach(([show], i) => {
      this.pictures[i].draw(scene, source, index, probe, { show, outlined: show !== 'map' });
      this.pictures[i].image.alt =
        show === 'image' ? name : describe(name, source.method, step, probe, faultOf(step, probe));
    });
  }
}
