/** A small chart as an SVG; a click chooses the step. */

import { MARGIN, layChart } from './charts.js';
import { element, explain, svg } from './dom.js';
import { meaningOf, number } from './words.js';

const SIZE = { width: 320, height: 140 };
export const CHANCE = [1, 'chance']; // a landmark of focus
const ROOM = { signs: 5, width: MARGIN.left - 8 }; // of a tick's number; longer ones are narrowed
const COLOURS = 8; // that the style sheet has for lines

export class Plot {
  #shown = '';

  constructor(title, choose) {
    this.title = title;
    this.choose = choose;
    this.drawing = svg('svg', { viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: 'img' });
    this.drawing.addEventListener('click', (event) => this.#choose(event));
    this.value = element('span', { className: 'value' });
    this.key = element('div', { className: 'key' });
    this.caption = element('span', {}, title);
    const caption = element('figcaption', {}, this.caption, this.value);
    this.element = element('figure', { className: 'plot' }, caption, this.drawing, this.key);
  }

  /**
   * Draw lines `{name, points: [[step, value or null, error]]}` and a step among them. `held` are
   * values to keep in sight; at a `landmark`, `[value, words]`, there is a line across. A line that
   * has nothing at the step is given with what it had `last`, or with a dash. `terms` explain names
   * of lines.
   */
  draw(lines, step, options = {}) {
    const { held = [], landmark = null, last = false, whenOf = String, say = number, terms = {} } = options;
    const shown = JSON.stringify([lines, step, terms]);
    this.element.hidden = !lines.some(({ points }) => points.some(([, value]) => value !== null));
    if (shown === this.#shown || this.element.hidden) return;
    this.#shown = shown;
    this.chart = layChart(lines, { ...SIZE, held: landmark ? [...held, landmark[0]] : held });
    const { x, y, ticks } = this.chart;
    const now = lines.map(({ name, points }) => {
      const there = points.filter(([at]) => (last ? at <= step : at === step));
      const value = there.at(-1)?.[1] ?? null;
      return name ? `${name} ${say(value)}` : say(value);
    });
    this.value.textContent = lines.length === 1 ? now[0] : '';
    this.drawing.setAttribute('aria-label', `${this.title} at ${whenOf(step)}: ${now.join(', ')}`);
    this.drawing.replaceChildren(
      ...ticks.flatMap((tick) => grid(tick, y(tick))),
      ...(landmark ? across(landmark[1], y(landmark[0])) : []),
      ...ends(lines, x, whenOf),
      ...present(lines, step, x, [MARGIN.top, y(ticks[0])]),
      ...this.chart.lines.flatMap((line, i) => trace(line, i)),
    );
    this.key.replaceChildren(
      ...(lines.length > 1
        ? now.map((words, i) => element('span', { className: `line-${i % COLOURS}` }, words))
        : []),
    );
    [...this.key.children].forEach((key, i) => explain(key, meaningOf(terms, lines[i].name)));
  }

  #choose(event) {
    const box = this.drawing.getBoundingClientRect();
    this.choose(this.chart.step(((event.clientX - box.left) * SIZE.width) / box.width));
  }
}

function grid(tick, y) {
  const label = number(tick);
  const narrow = { textLength: ROOM.width, lengthAdjust: 'spacingAndGlyphs' };
  const text = svg('text', {
    x: MARGIN.left - 6,
    y: y + 3.5,
    'text-anchor': 'end',
    ...(label.length > ROOM.signs ? narrow : {}),
  });
  text.append(label);
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

function across(words, y) {
  const [x1, x2] = [MARGIN.left, SIZE.width - MARGIN.right];
  const text = svg('text', { x: x1 + 4, y: y < 20 ? y + 11 : y - 3 }); // within the picture
  text.append(words);
  return [svg('line', { class: 'landmark', x1, x2, y1: y, y2: y }), text];
}

function ends(lines, x, whenOf) {
  const steps = lines.flatMap(({ points }) => points.map(([step]) => step));
  const [first, last] = [Math.min(...steps), Math.max(...steps)];
  const named = last > first ? [first, last] : [first];
  return named.map((step, i) => {
    const anchor = i ? 'end' : 'start';
    const text = svg('text', { x: x(step), y: SIZE.height - 6, 'text-anchor': anchor });
    text.append(whenOf(step));
    return text;
  });
}

/** Where the step is, unless that is beside all points. */
function present(lines, step, x, [y1, y2]) {
  const steps = lines.flatMap(({ points }) => points.map(([at]) => at));
  if (step < Math.min(...steps) || step > Math.max(...steps)) return [];
  return [svg('line', { class: 'now', x1: x(step), x2: x(step), y1, y2 })];
}

function trace({ line, band, dots }, i) {
  const colour = `line-${i % COLOURS}`;
  return [
    svg('path', { class: `band ${colour}`, d: band }),
    svg('path', { class: `line ${colour}`, d: line }),
    ...dots.map(([cx, cy]) => svg('circle', { class: `dot ${colour}`, cx, cy, r: 2.5 })),
  ];
}
