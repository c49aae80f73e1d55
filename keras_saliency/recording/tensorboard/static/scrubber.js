/** The one slider of all pictures, with play. */

import { element, write } from './dom.js';

export class Scrubber {
  constructor(page) {
    const to = (move) => () => page.goTo(move(page.scene));
    this.play = element('button', { className: 'play', onclick: () => page.togglePlay() });
    this.slider = element('input', {
      type: 'range',
      min: 0,
      step: 1,
      'aria-label': 'Step',
      oninput: () => page.goTo(Number(this.slider.value)),
    });
    this.when = element('output', { className: 'when', 'aria-live': 'off' });
    this.count = element('span', { className: 'count' });
    this.element = element(
      'div',
      { className: 'scrubber' },
      element('button', { title: 'Previous step (←)', onclick: to(({ current }) => current - 1) }, '‹'),
      this.play,
      element('button', { title: 'Next step (→)', onclick: to(({ current }) => current + 1) }, '›'),
      this.slider,
      element('span', { className: 'place' }, this.when, this.count),
    );
  }

  draw({ source, current, state }) {
    const step = source.steps[current];
    const count = source.steps.length;
    this.slider.max = String(count - 1);
    this.slider.value = String(current);
    this.slider.setAttribute('aria-valuetext', step?.when ?? 'none');
    this.slider.style.setProperty('--done', `${count > 1 ? (100 * current) / (count - 1) : 100}%`);
    write(this.when, step?.when ?? 'nothing yet');
    write(this.count, count ? `(step ${step.step}), ${current + 1} of ${count}` : '');
    write(this.play, state.playing ? '❚❚' : '▶');
    this.play.title = state.playing ? 'Pause (space)' : 'Play (space)';
    this.play.setAttribute('aria-label', state.playing ? 'Pause' : 'Play');
  }
}
