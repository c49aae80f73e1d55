/** Asks the plugin's server, and keeps the maps that were read last. */

import { decodeGrey } from './png.js';

const KEPT = 64 * 2 ** 20; // bytes of maps
const AT_ONCE = 3; // requests: a step that is wished for waits for those before it

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
    return (await this.#answer(this.url(route, parameters))).json();
  }

  /** The grey picture of an address, a mask's or that of all maps of a step. */
  async shades(address) {
    const answer = await this.#answer(address);
    return decodeGrey(new Uint8Array(await answer.arrayBuffer()));
  }

  async #answer(address) {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(await answer.text());
    return answer;
  }
}

/**
 * Grey pictures by address, most of them the maps of a step. What is wished for is read in that
 * order; what was used longest ago is dropped.
 */
export class MapCache {
  #maps = new Map();
  #bytes = 0;
  #reading = new Set();
  #wishes = [];

  /** `load(address)` promises a picture; `arrived()` is called after each. */
  constructor(load, arrived, limit = KEPT) {
    this.load = load;
    this.arrived = arrived;
    this.limit = limit;
  }

  /** The picture of an address: undefined where it isn't here yet, null if it can't be read. */
  get(address) {
    const picture = this.#maps.get(address);
    if (picture) {
      this.#maps.delete(address);
      this.#maps.set(address, picture);
    }
    return picture;
  }

  /** Read these addresses next, in this order, in place of whatever was wished for before. */
  wish(addresses) {
    this.#wishes = [...new Set(addresses)].filter((address) => !this.#maps.has(address));
    this.#readOn();
  }

  #readOn() {
    while (this.#reading.size < AT_ONCE && this.#wishes.length) {
      const address = this.#wishes.shift();
      if (!this.#reading.has(address) && !this.#maps.has(address)) this.#read(address);
    }
  }

  async #read(address) {
    this.#reading.add(address);
    try {
      this.#keep(address, await this.load(address));
    } catch {
      this.#maps.set(address, null); // It is shown as a fault in its place.
    }
    this.#reading.delete(address);
    this.arrived();
    this.#readOn();
  }

  #keep(address, picture) {
    this.#maps.set(address, picture);
    this.#bytes += sizeOf(picture);
    for (const [old, dropped] of this.#maps) {
      if (this.#bytes <= this.limit || old === address) break;
      this.#maps.delete(old);
      this.#bytes -= sizeOf(dropped);
    }
  }

  /** Forget what could not be read, so that it is tried again. */
  forgive() {
    for (const [address, one] of this.#maps) if (one === null) this.#maps.delete(address);
  }
}

const sizeOf = (picture) => picture?.values.length ?? 0;
