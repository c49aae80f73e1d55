/** Asks the plugin's server, and keeps the maps that were read last. */

import { decodeGrey } from './png.js';

const KEPT = 64 * 2 ** 20; // bytes of maps
const AT_ONCE = 6; // requests, as many as browsers send to one host

export class Client {
  /** `base` is the address of the plugin's routes. */
  constructor(base) {
    this.base = base;
  }

  url(route, parameters = {}) {
    const address = new URL(route, this.base);
    address.search = new URLSearchParams(parameters);
    return address.href;
  }

  picture(key) {
    return this.url('blob', { key });
  }

  async json(route, parameters) {
    return (await this.#answer(route, parameters)).json();
  }

  async grey(key) {
    const answer = await this.#answer('blob', { key });
    return decodeGrey(new Uint8Array(await answer.arrayBuffer()));
  }

  async #answer(route, parameters) {
    const answer = await fetch(this.url(route, parameters));
    if (!answer.ok) throw new Error(await answer.text());
    return answer;
  }
}

/** Maps by key. What is wished for is read in that order; what was used longest ago is dropped. */
export class MapCache {
  #maps = new Map();
  #bytes = 0;
  #reading = new Set();
  #wishes = [];

  /** `load(key)` promises a map; `arrived()` is called after each. */
  constructor(load, arrived, limit = KEPT) {
    this.load = load;
    this.arrived = arrived;
    this.limit = limit;
  }

  /** The map of a key: undefined where it isn't here yet, null where it can't be read. */
  get(key) {
    const map = this.#maps.get(key);
    if (map) {
      this.#maps.delete(key);
      this.#maps.set(key, map);
    }
    return map;
  }

  /** Read these keys next, in this order, in place of whatever was wished for before. */
  wish(keys) {
    this.#wishes = [...new Set(keys)].filter((key) => !this.#maps.has(key));
    this.#readOn();
  }

  #readOn() {
    while (this.#reading.size < AT_ONCE && this.#wishes.length) {
      const key = this.#wishes.shift();
      if (!this.#reading.has(key) && !this.#maps.has(key)) this.#read(key);
    }
  }

  async #read(key) {
    this.#reading.add(key);
    try {
      this.#keep(key, await this.load(key));
    } catch {
      this.#maps.set(key, null); // It is shown as a fault in its place.
    }
    this.#reading.delete(key);
    this.arrived();
    this.#readOn();
  }

  #keep(key, map) {
    this.#maps.set(key, map);
    this.#bytes += map.values.length;
    for (const [old, dropped] of this.#maps) {
      if (this.#bytes <= this.limit || old === key) break;
      this.#maps.delete(old);
      this.#bytes -= dropped?.values.length ?? 0;
    }
  }

  /** Forget what could not be read, so that it is tried again. */
  forgive() {
    for (const [key, map] of this.#maps) if (map === null) this.#maps.delete(key);
  }
}
