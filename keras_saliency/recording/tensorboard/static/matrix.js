/** The view "over time": rows are probes, columns are steps; only what is in sight is made. */

import { element, write } from './dom.js';
import { faultOf } from './maps.js';
import { nothing } from './grid.js';
import { Picture } from './picture.js';
import { cellSize, inSight, layRows } from './rows.js';
import { describe } from './words.js';

const CELL = { room: 8, narrowest: 60 }; // pixels
const LONGEST = { least: 68, most: 168 }; // of a picture's sides: as long as all steps fit
const HEADING = 34;
const NAMES = 148; // pixels of the column of names
const SHARPNESS = LONGEST.most;

export class Matrix {
  #cells = new Map();
  #names = new Map();
  #heads = new Map();
  #followed = null;
  #focused = null;

  constructor(page) {
    this.page = page;
    this.corner = element('div', { className: 'corner' });
    this.columns = element('div', { className: 'columns', 'aria-hidden': 'true' });
    this.heads = element('div', { className: 'heads' }, this.corner, this.columns);
    this.place = element('div', { className: 'place-of-row', 'aria-hidden': 'true' });
    this.names = element('div', { className: 'names' });
    this.body = element('div', { className: 'body' }, this.place);
    this.empty = nothing();
    // Steps scroll sideways in it; rows scroll with whatever the matrix stands in.
    this.rows = element(
      'div',
      {
        className: 'rows',
        tabIndex: 0,
        role: 'group',
        'aria-label':
          'Pictures over time. Arrows left and right change the step, up and down the picture.',
        onkeydown: (event) => this.#move(event),
      },
      this.names,
      this.body,
      this.empty,
    );
    this.element = element('div', { className: 'matrix' }, this.heads, this.rows);
    document.addEventListener('scroll', () => page.redraw(), { capture: true, passive: true });
    new ResizeObserver(() => page.redraw()).observe(this.element);
  }

  draw(scene) {
    const { steps } = scene.source;
    const longest = this.#longest(steps.length);
    this.cell = cellSize(scene.source.probes.size, { ...CELL, longest });
    const { width, height } = this.cell;
    this.element.style.setProperty('--longest', `${longest}px`);
    this.element.style.setProperty('--width', `${width}px`);
    this.element.style.setProperty('--height', `${height}px`);
    const plan = layRows(scene.groups, { heading: HEADING, row: height });
    this.empty.hidden = plan.items.length > 0;
    this.body.style.width = this.columns.style.width = `${steps.length * width}px`;
    this.body.style.height = this.names.style.height = `${plan.height}px`;
    this.#follow(scene.index);
    const { scrollLeft, clientWidth } = this.rows;
    this.columns.style.transform = `translateX(${-scrollLeft}px)`;
    const [first, end] = inSight(scrollLeft, clientWidth - NAMES, width, steps.length);
    const above = -this.rows.getBoundingClientRect().top; // pixels that are scrolled out
    const rows = plan.items.filter(
      (item) => item.top < above + innerHeight && item.top + item.height > above - height,
    );
    this.#drawNames(scene, rows);
    this.#drawHeads(scene, first, end);
    this.#drawCells(scene, rows, first, end);
    this.order = plan.items.filter(({ probe }) => probe !== undefined);
  }

  /** The longest side of a picture, so that all steps fill the room if they can. */
  #longest(steps) {
    const room = (this.rows.clientWidth - NAMES) / Math.max(steps, 1) - CELL.room;
    return Math.floor(Math.min(Math.max(room, LONGEST.least), LONGEST.most));
  }

  /** Scroll so that the present step is in sight, once for each change of it. */
  #follow(index) {
    if (index === this.#followed || !this.rows.clientWidth) return;
    this.#followed = index;
    const { width } = this.cell;
    const left = index * width;
    const room = this.rows.clientWidth - NAMES - width;
    const { scrollLeft } = this.rows;
    if (left < scrollLeft) this.rows.scrollLeft = left;
    else if (left > scrollLeft + room) this.rows.scrollLeft = left - room;
  }

  #drawNames({ source }, rows) {
    const shown = keep(this.#names, this.names, rows, ({ probe, label }) =>
      probe === undefined ? `class ${label}` : `probe ${probe}`,
    );
    for (const [item, node] of shown((_, { probe }) =>
      element('div', { className: probe === undefined ? 'heading' : 'name' }),
    )) {
      const { probe, label, top } = item;
      write(node, probe === undefined ? (label ?? 'No label') : source.probes.names[probe]);
      node.title = node.textContent;
      node.style.top = `${top}px`;
    }
  }

  #drawHeads({ source, index }, first, end) {
    const columns = Array.from({ length: end - first }, (_, i) => first + i);
    const shown = keep(this.#heads, this.columns, columns, (column) => column);
    for (const [column, node] of shown((_, at) =>
      element('div', { className: 'head', onclick: () => this.page.goTo(at) }),
    )) {
      write(node, source.steps[column].when);
      node.title = node.textContent;
      node.style.left = `${column * this.cell.width}px`;
      node.classList.toggle('present', column === index);
    }
  }

  #drawCells(scene, rows, first, end) {
    const places = rows
      .filter(({ probe }) => probe !== undefined)
      .flatMap(({ probe, top }) =>
        Array.from({ length: end - first }, (_, i) => ({ probe, top, column: first + i })),
      );
    const shown = keep(this.#cells, this.body, places, ({ probe, column }) => `${probe} ${column}`);
    for (const [{ probe, top, column }, node] of shown((_, place) => this.#make(place))) {
      node.style.transform = `translate(${column * this.cell.width}px, ${top}px)`;
      node.picture.draw(scene, scene.source, column, probe, { show: scene.state.show });
      node.classList.toggle('present', column === scene.index);
      const step = scene.source.steps[column];
      const name = scene.source.probes.names[probe];
      node.setAttribute(
        'aria-label',
        describe(name, scene.state.method, step, probe, faultOf(step, probe)),
      );
      node.title = node.ariaLabel;
      if (probe === this.#focused && column === scene.index) this.#focus(node);
    }
  }

  #make({ probe, column }) {
    const picture = new Picture(SHARPNESS);
    const open = () => {
      this.page.goTo(column);
      this.page.openProbe(probe);
    };
    const cell = element(
      'button',
      { className: 'cell', tabIndex: -1, onclick: open },
      picture.element,
    );
    cell.picture = picture;
    return cell;
  }

  #focus(node) {
    const inside = this.rows.contains(document.activeElement);
    if (inside && document.activeElement !== node) node.focus({ preventScroll: true });
  }

  /** Up and down choose the row; left and right are the page's, and the focus goes along. */
  #move(event) {
    const down = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!down || !this.order?.length) return;
    event.preventDefault();
    const at = this.order.findIndex(({ probe }) => probe === this.#focused);
    const row = this.order[Math.min(Math.max(at + down, 0), this.order.length - 1)];
    this.#focused = row.probe;
    this.place.style.top = `${row.top}px`;
    this.place.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    this.#followed = null;
    this.page.redraw();
  }
}

/**
 * Keep in `parent` one node for each item: those there were stay, those no longer asked for go.
 * Gives a function of how a node is made, which gives pairs of item and node.
 */
function keep(nodes, parent, items, nameOf) {
  const wanted = new Map(items.map((item) => [nameOf(item), item]));
  for (const [name, node] of nodes) {
    if (wanted.has(name)) continue;
    node.remove();
    nodes.delete(name);
  }
  return (make) =>
    [...wanted].map(([name, item]) => {
      if (!nodes.has(name)) {
        nodes.set(name, make(name, item));
        parent.append(nodes.get(name));
      }
      return [item, nodes.get(name)];
    });
}
