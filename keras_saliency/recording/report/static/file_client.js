/** Answers as the plugin's server would, out of what stands in the page itself. */

import { decodeGrey } from '../../tensorboard/static/png.js';

export class FileClient {
  #addresses = new Map();
  #keys = new Map();

  /** `data` is `{runs, probes, maps, guidance, pictures}`: the answers, and pictures as base64. */
  constructor(data) {
    this.data = data;
  }

  /** The address of a picture; it is made once. */
  picture(key) {
    if (!this.#addresses.has(key)) {
      const address = URL.createObjectURL(new Blob([this.#bytes(key)]));
      this.#addresses.set(key, address);
      this.#keys.set(address, key);
    }
    return this.#addresses.get(key);
  }

  async json(route, { run, method } = {}) {
    const { runs, probes, maps, guidance } = this.data;
    if (route === 'runs') return { runs };
    if (route === 'guidance') return guidance;
    return route === 'probes' ? probes[run] : { steps: maps[run][method] };
  }

  async shades(address) {
    return decodeGrey(this.#bytes(this.#keys.get(address)));
  }

  #bytes(key) {
    const text = atob(this.data.pictures[key]);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes;
  }
}
