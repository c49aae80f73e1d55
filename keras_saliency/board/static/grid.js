/** The view "at this step": large tiles of all probes. */

import { element, write } from './dom.js';
import { faultOf } from './maps.js';
import { Picture } from './picture.js';
import { describe, focusing, saying } from './words.js';

const SHARPNESS = 160;

export class Grid {
  #tiles = new Map();
  #laid = '';

  constructor(page) {
    this.page = page;
    this.element = element('div', { className: 'grid' });
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
    this.element.replaceChildren(...(sections.length ? sections : [nothing()]));
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
    this.pictures = [new Picture(SHARPNESS), new Picture(SHARPNESS)];
    this.badges = this.pictures.map(() => element('span', { className: 'badge' }));
    this.pictures.forEach((picture, i) => picture.element.append(this.badges[i]));
    this.name = element('strong');
    this.says = element('span', { className: 'says' });
    this.focus = element('span', { className: 'focus' });
    this.element = element(
      'button',
      { className: 'tile', onclick: () => page.openProbe(probe) },
      element('span', { className: 'pair' }, ...this.pictures.map((one) => one.element)),
      element('span', { className: 'caption' }, this.name, this.says, this.focus),
    );
    this.element.tile = this;
  }

  draw(scene) {
    const { source, other, index, step, state } = scene;
    const name = source.probes.names[this.probe];
    this.#drawIn(this.pictures[0], scene, source, index, this.probe);
    const probe = other ? scene.probeIn(other, this.probe) : -1;
    this.pictures[1].element.hidden = probe < 0;
    if (probe >= 0) this.#drawIn(this.pictures[1], scene, other, scene.indexIn(other), probe);
    const differs = other?.run === source.run ? 'method' : 'run';
    [source, other].forEach((one, i) => write(this.badges[i], other ? one[differs] : ''));
    write(this.says, step ? saying(step, this.probe) : '');
    this.says.dataset.correct = step?.correct?.[this.probe] ?? '';
    write(this.focus, (step && focusing(step, this.probe)) ?? '');
    this.element.dataset.step = step?.step ?? '';
    const fault = faultOf(step, this.probe);
    this.element.setAttribute('aria-label', describe(name, state.method, step, this.probe, fault));
  }

  #drawIn(picture, scene, source, index, probe) {
    picture.draw(scene, source, index, probe, { show: scene.state.show });
  }
}

/** What stands where the filter leaves nothing. */
export function nothing() {
  return element('p', { className: 'note' }, 'No picture has such a name.');
}
