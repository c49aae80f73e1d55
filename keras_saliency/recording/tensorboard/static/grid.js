/** The view "at this step": large tiles of all probes. */

import { element, explain, write } from './dom.js';
import { faultOf } from './maps.js';
import { Picture } from './picture.js';
import { checking, describe, focusing, saying } from './words.js';

const SHARPNESS = 160;

export class Grid {
  #tiles = new Map();
  #laid = '';

  constructor(page) {
    this.page = page;
    this.sections = element('div');
    this.note = element('p', { className: 'note' });
    this.element = element('div', { className: 'grid' }, this.sections, this.note);
    this.observer = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) target.tile.visible = isIntersecting;
        page.redraw();
      },
      { rootMargin: '200px' },
    );
  }

  draw(scene) {
    this.#lay(scene);
    this.element.classList.toggle('paired', Boolean(scene.other));
    for (const tile of this.#tiles.values()) if (tile.visible) tile.draw(scene);
    write(this.note, reading(scene));
  }

  /** Put the tiles in their groups; nothing is done where they already are. */
  #lay({ source, groups }) {
    const { names, size } = source.probes;
    const laid = JSON.stringify([source.run, names, size, groups]);
    if (laid === this.#laid) return;
    this.#laid = laid;
    this.element.style.setProperty('--ratio', size[1] / size[0]); // room, before there are pictures
    const focused = document.activeElement;
    const sections = groups.map(({ label, probes }) => {
      const tiles = probes.map((probe) => this.#tile(probe, names[probe]).element);
      const title = element(
        'h2',
        {},
        label ?? 'No label',
        element('small', {}, ` ${probes.length}`),
      );
      const list = element('div', { className: 'tiles' }, ...tiles);
      return element('section', {}, ...(groups.length > 1 ? [title] : []), list);
    });
    this.sections.replaceChildren(...(sections.length ? sections : [nothing()]));
    if (this.element.contains(focused)) focused.focus();
  }

  /** A tile has its name before it is in sight: one may search the page for it. */
  #tile(probe, name) {
    if (!this.#tiles.has(probe)) {
      const tile = new Tile(this.page, probe);
      this.#tiles.set(probe, tile);
      this.observer.observe(tile.element);
    }
    write(this.#tiles.get(probe).name, name);
    return this.#tiles.get(probe);
  }
}

class Tile {
  visible = false;

  constructor(page, probe) {
    this.probe = probe;
    this.sides = [new Side(), new Side()];
    this.name = element('strong');
    const of = (part) => this.sides.map((side) => side[part]);
    this.element = element(
      'button',
      { className: 'tile', onclick: () => page.openProbe(probe) },
      element('span', { className: 'pair' }, ...of('frame')),
      element('span', { className: 'caption' }, this.name, ...of('says'), ...of('focus'), ...of('check')),
    );
    this.element.tile = this;
  }

  draw(scene) {
    const { source, other, index, step, state } = scene;
    const differs = other?.run === source.run ? 'method' : 'run';
    const label = (one) => (other ? one[differs] : '');
    this.sides[0].draw(scene, source, index, this.probe, label(source));
    const beside = other ? scene.probeIn(other, this.probe) : -1;
    this.sides[1].show(beside >= 0);
    if (beside >= 0) this.sides[1].draw(scene, other, scene.indexIn(other), beside, label(other));
    // Two methods ask the same model, which says the same.
    if (differs === 'method' && other) this.sides[1].says.hidden = true;
    this.element.dataset.step = step?.step ?? '';
    const fault = faultOf(step, this.probe);
    const name = source.probes.names[this.probe];
    this.element.setAttribute('aria-label', describe(name, state.method, step, this.probe, fault));
  }
}

/** One of the two pictures of a tile, and what is said of it. */
class Side {
  constructor() {
    this.picture = new Picture(SHARPNESS);
    this.frame = this.picture.element;
    this.badge = element('span', { className: 'badge' });
    this.frame.append(this.badge);
    this.says = element('span', { className: 'says' });
    this.focus = element('span', { className: 'focus' });
    this.check = element('span', { className: 'check' });
  }

  show(shown) {
    for (const part of [this.frame, this.says, this.focus, this.check]) part.hidden = !shown;
  }

  draw(scene, source, index, probe, label) {
    this.picture.draw(scene, source, index, probe, { show: scene.state.show });
    const step = source.steps[index];
    const named = (words) => (label && words ? `${label}: ${words}` : words);
    write(this.badge, label);
    write(this.says, named(step ? saying(step, probe) : ''));
    this.says.dataset.correct = step?.correct?.[probe] ?? '';
    write(this.focus, named((step && focusing(step, probe)) ?? ''));
    explain(this.focus, this.focus.textContent && scene.guidance.terms.focus);
    write(this.check, named(checking(step, probe) ?? ''));
    explain(this.check, this.check.textContent && scene.guidance.terms.hiding);
  }
}

/** What the colours mean, and why two methods can differ. */
function reading({ state, source, other, step, guidance }) {
  if (state.show === 'image') return '';
  const two = other?.run === source.run && other.method !== source.method;
  return [meaning(state.since !== null, step?.signed), ...(two ? [guidance.disagreement] : [])].join(' ');
}

function meaning(isDifference, isSigned) {
  if (isDifference) return 'Red = the score rests on it more than then; blue = less.';
  if (isSigned) return 'Red = raises the score; blue = lowers it.';
  return 'Bright = what the score rests on.';
}

/** What stands where the filter leaves nothing. */
export function nothing() {
  return element('p', { className: 'note' }, 'No picture has such a name.');
}
