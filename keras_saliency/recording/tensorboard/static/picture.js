/** One probe with its map on it: an image, a canvas that is stretched over it, and an outline. */

import { DIVERGING, palette } from './colours.js';
import { element, svg } from './dom.js';
import { canvasSize, fit, outline, paint, resize } from './maps.js';
import { isChance } from './words.js';

export class Picture {
  #drawn = '';
  #values = null;

  /** `sharpness` is the longest side of the canvas; the browser smooths what lies between. */
  constructor(sharpness) {
    this.sharpness = sharpness;
    this.image = element('img', { decoding: 'async', draggable: false });
    this.canvas = element('canvas', { 'aria-hidden': 'true' });
    this.fault = element('span', { className: 'fault', 'aria-hidden': 'true' });
    this.element = element('div', { className: 'picture' }, this.image, this.canvas, this.fault);
  }

  /**
   * Draw the map of a probe at a step of a source: its `image`, `map` or `overlay`.
   *
   * Where the map isn't here yet the former one stays, and is marked as such.
   */
  draw(scene, source, index, probe, { show, outlined = scene.state.outline }) {
    this.#place(source, probe, scene.client);
    this.element.dataset.show = show;
    this.element.classList.toggle('chance', isChance(source.steps[index], probe));
    this.#outline(outlined ? scene.mask(source, probe) : null);
    const style = `${scene.styleOf(source, index, probe)} ${show}`;
    const overlay = style === this.#drawn ? this.#values : scene.map(source, index, probe);
    this.element.classList.toggle('waiting', overlay === null);
    if (overlay === null || style === this.#drawn) return;
    this.#paint(overlay, source.probes.size, show, scene.state);
    this.#drawn = overlay.fault ? '' : style; // What is at fault may be mended when it is read again.
    this.#values = overlay;
  }

  #place(source, probe, client) {
    const address = client.picture(source.probes.pictures[probe]);
    if (this.image.src === address) return;
    this.image.src = address;
    const [height, width] = source.probes.size;
    this.element.style.setProperty('--ratio', width / height);
  }

  #paint(overlay, size, show, { opacity, threshold, colours }) {
    this.element.classList.toggle('faulty', Boolean(overlay.fault));
    this.fault.textContent = overlay.fault ?? '';
    if (overlay.fault) {
      this.canvas.width = this.canvas.height = 1; // clears it
      return;
    }
    const solid = show === 'map';
    const [height, width] = canvasSize(overlay, fit(size, this.sharpness));
    const values = resize(overlay, width, height);
    const map = palette(overlay.signed ? DIVERGING : colours);
    const painted = paint(values, map, { opacity, threshold, solid });
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    this.canvas.getContext('2d').putImageData(new ImageData(painted, width, height), 0, 0);
  }

  #outline(mask) {
    if (!mask) {
      this.border?.remove();
      this.border = null;
    } else if (this.border?.mask !== mask) {
      this.border?.remove();
      this.border = svg('svg', { viewBox: `0 0 ${mask.width} ${mask.height}`, class: 'outline' });
      this.border.setAttribute('preserveAspectRatio', 'none');
      this.border.setAttribute('aria-hidden', 'true');
      const path = outline(mask);
      this.border.append(svg('path', { d: path, class: 'halo' }), svg('path', { d: path }));
      this.border.mask = mask;
      this.element.append(this.border);
    }
  }
}
