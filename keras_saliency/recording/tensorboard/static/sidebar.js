/** How maps are drawn and in which order, and the legend. */

import { DIVERGING, SEQUENTIAL, palette } from './colours.js';
import { Choice, Switch, element, explain, write } from './dom.js';
import { paint } from './maps.js';
import { ORDERS } from './rows.js';
import { number, percent } from './words.js';

const SHOWN = [
  ['overlay', 'Overlay'],
  ['map', 'Map'],
  ['image', 'Image'],
];
const SCALES = [
  ['map', 'each map'],
  ['probe', 'each picture over all steps'],
  ['all', 'all pictures, all steps'],
];
const TERM_OF = { focus: 'focus', change: 'similarity' }; // by which probes are sorted
const BAR = 200; // pixels of the legend

export class Sidebar {
  constructor(page) {
    const choice = (label, name) => new Choice(label, (value) => page.set({ [name]: value }));
    const slide = (label, name) => new Slide(label, (value) => page.set({ [name]: value }));
    this.shown = new Switch('Show', SHOWN, (show) => page.set({ show }));
    this.opacity = slide('Opacity at the peak', 'opacity');
    this.threshold = slide('Hide what is below', 'threshold');
    this.colours = choice('Colours', 'colours');
    this.scale = choice('Full colour is the peak of', 'scale');
    this.since = new Choice('Show the difference to', (step) =>
      page.set({ since: step === '' ? null : Number(step) }),
    );
    this.outline = element('input', {
      type: 'checkbox',
      onchange: () => page.set({ outline: this.outline.checked }),
    });
    this.outlined = element('label', { className: 'check' }, this.outline, 'Outline the object');
    this.order = choice('Sort by', 'order');
    this.filter = element('input', {
      type: 'search',
      placeholder: 'part of a name',
      oninput: () => page.set({ filter: this.filter.value }),
    });
    this.legend = new Legend();
    this.element = element(
      'aside',
      { 'aria-label': 'How maps are drawn' },
      this.shown.element,
      this.legend.element,
      this.opacity.element,
      this.threshold.element,
      this.colours.element,
      this.scale.element,
      this.since.element,
      this.outlined,
      element('hr'),
      this.order.element,
      element('label', { className: 'field' }, element('span', {}, 'Find'), this.filter),
    );
  }

  draw(scene) {
    const { state, source, step } = scene;
    this.shown.draw(state.show);
    this.opacity.draw(state.opacity);
    this.threshold.draw(state.threshold);
    const diverging = step?.signed || state.since !== null;
    const names = diverging ? [DIVERGING] : SEQUENTIAL;
    this.colours.draw(
      [[null, names.map((name) => [name, name])]],
      diverging ? DIVERGING : state.colours,
    );
    this.colours.box.disabled = diverging;
    this.scale.draw([[null, SCALES]], state.scale);
    explain(this.scale.label, scene.guidance.terms.peak);
    const steps = source.steps.map((one) => [String(one.step), one.when]);
    this.since.draw(
      [
        [null, [['', 'nothing']]],
        ['Difference to', steps],
      ],
      String(state.since ?? ''),
    );
    this.outline.checked = state.outline;
    this.outlined.hidden = !source.probes.mask_pictures;
    const orders = Object.entries(ORDERS).map(([name, { words }]) => [name, words]);
    this.order.draw([[null, orders]], state.order);
    explain(this.order.label, scene.guidance.terms[TERM_OF[state.order]]);
    this.legend.draw(scene, diverging);
  }
}

class Slide {
  constructor(label, choose) {
    this.slider = element('input', {
      type: 'range',
      min: 0,
      max: 1,
      step: 0.05,
      oninput: () => choose(Number(this.slider.value)),
    });
    this.value = element('output');
    const title = element('span', {}, label, this.value);
    this.element = element('label', { className: 'field slide' }, title, this.slider);
  }

  draw(value) {
    this.slider.value = String(value);
    this.slider.style.setProperty('--done', `${100 * value}%`);
    write(this.value, percent(value));
  }
}

/** A bar with the colours as they lie on white, and what its ends stand for. */
class Legend {
  constructor() {
    this.canvas = element('canvas', { width: BAR, height: 1, 'aria-hidden': 'true' });
    this.ends = [0, 1, 2].map(() => element('span'));
    const ends = element('div', { className: 'ends' }, ...this.ends);
    this.element = element('div', { className: 'legend' }, this.canvas, ends);
  }

  draw({ state, source }, diverging) {
    const values = Float32Array.from({ length: BAR }, (_, i) =>
      diverging ? (2 * i) / (BAR - 1) - 1 : i / (BAR - 1),
    );
    const style = { ...state, solid: state.show === 'map' };
    const colours = palette(diverging ? DIVERGING : state.colours);
    const bar = new ImageData(paint({ values, signed: diverging }, colours, style), BAR, 1);
    this.canvas.getContext('2d').putImageData(bar, 0, 0);
    this.element.hidden = state.show === 'image';
    const ends = endsOf(state, source, diverging);
    this.ends.forEach((end, i) => write(end, ends[i]));
  }
}

function endsOf({ scale, since }, { peaks }, diverging) {
  if (since !== null) return ['less than then', 'equal', 'more'];
  const peak = scale === 'all' ? number(peaks.all) : 'peak';
  return diverging ? [`−${peak}`, '0', `+${peak}`] : ['0', '', peak];
}
