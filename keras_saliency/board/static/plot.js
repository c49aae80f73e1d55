/** A small chart as an SVG; a click chooses the step. */

import { MARGIN, layChart } from './charts.js';
import { element, svg } from './dom.js';
import { number } from './words.js';

const SIZE = { width: 320, height: 140 };

export class Plot {
  #shown = '';

  constructor(title, choose) {
    this.title = title;
    this.choose = choose;
    this.drawing = svg('svg', { viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: 'img' });
    this.drawing.addEventListener('click', (event) => this.#choose(event));
    this.value = element('span', { className: 'value' });
    this.key = element('div', { className: 'key' });
    const caption = element('figcaption', {}, title, this.value);
    this.element = element('figure', { className: 'plot' }, caption, this.drawing, this.key);
  }

  /** `lines` are `{name, points: [[step, value or null, error]]}`, at most as many as colours. */
  draw(lines, step, { floor = null, whenOf = String } = {}) {
    const shown = JSON.stringify([lines, step]);
    this.element.hidden = !lines.some(({ points }) => points.some(([, value]) => value !== null));
    if (shown === this.#shown || this.element.hidden) return;
    this.#shown = shown;
    this.chart = layChart(lines, { ...SIZE, floor });
    const { x, y, ticks } = this.chart;
    const now = lines.map(({ name, points }) => {
      const value = points.find(([at]) => at === step)?.[1] ?? null;
      return name ? `${name} ${number(value)}` : number(value);
    });
    this.value.textContent = lines.length === 1 ? now[0] : '';
    this.drawing.setAttribute('aria-label', `${this.title} at ${whenOf(step)}: ${now.join(', ')}`);
    this.drawing.replaceChildren(
      ...ticks.flatMap((tick) => grid(tick, y(tick))),
      ...ends(lines, x, whenOf),
      svg('line', { class: 'now', x1: x(step), x2: x(step), y1: MARGIN.top, y2: y(ticks[0]) }),
      ...this.chart.lines.flatMap((line, i) => trace(line, i)),
    );
    this.key.replaceChildren(
      ...(lines.length > 1
        ? now.map((words, i) => element('span', { className: `line-${i}` }, words))
        : []),
    );
  }

  #choose(event) {
    const box = this.drawing.getBoundingClientRect();
    this.choose(this.chart.step(((event.clientX - box.left) * SIZE.width) / box.width));
  }
}

function grid(tick, y) {
  const text = svg('text', { x: MARGIN.left - 6, y: y + 3.5, 'text-anchor': 'end' });
  text.append(number(tick));
  return [
    svg('line', {
      class: 'grid-line',
      x1: MARGIN.left,
      x2: SIZE.width - MARGIN.right,
      y1: y,
      y2: y,
    }),
    text,
  ];
}

function ends(lines, x, whenOf) {
  const steps = lines[0].points.map(([step]) => step);
  const named = steps.length > 1 ? [steps[0], steps.at(-1)] : [steps[0]];
  return named.map((step, i) => {
    const anchor = i ? 'end' : 'start';
    const text = svg('text', { x: x(step), y: SIZE.height - 6, 'text-anchor': anchor });
    text.append(whenOf(step));
    return text;
  });
}

function trace({ line, band, dots }, i) {
  return [
    svg('path', { class: `band line-${i}`, d: band }),
    svg('path', { class: `line line-${i}`, d: line }),
    ...dots.map(([cx, cy]) => svg('circle', { class: `dot line-${i}`, cx, cy, r: 2.5 })),
  ];
}
