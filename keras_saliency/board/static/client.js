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

  /** Where the maps of a step are. */
  step({ key }) {
    return this.url('step', { key });
  }

  /** The maps at the address of a step, or of one picture; null where one is no grey PNG. */
  async maps(address) {
    const answer = await this.#answer(address);
    const bytes = new Uint8Array(await answer.arrayBuffer());
    const single = answer.headers.get('Content-Type').startsWith('image/');
    const files = single ? [bytes] : unpack(bytes);
    return Promise.all(files.map((file) => decodeGrey(file).catch(() => null)));
  }

  async #answer(address) {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(await answer.text());
    return answer;
  }
}

/** The files in the answer to a step: each stands after its length in four bytes. */
function unpack(bytes) {
  const view = new DataView(bytes.buffer);
  const files = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 4 + view.getUint32(at);
    files.push(bytes.subarray(at + 4, end));
    at = end;
  }
  return files;
}

/**
 * Lists of maps by address, most of them the maps of a step. What is wished for is read in that
 * order; what was used longest ago is dropped.
 */
export class MapCache {
  #maps = new Map();
  #bytes = 0;
  #reading = new Set();
  #wishes = [];

  /** `load(address)` promises maps; `arrived()` is called after each. */
  constructor(load, arrived, limit = KEPT) {
    this.load = load;
    this.arrived = arrived;
    this.limit = limit;
  }

  /** The maps of an address: undefined where they aren't here yet, null if they can't be read. */
  get(address) {
    const maps = this.#maps.get(address);
    if (maps) {
      this.#maps.delete(address);
      this.#maps.set(address, maps);
    }
    return maps;
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

  #keep(address, maps) {
    this.#maps.set(address, maps);
    this.#bytes += sizeOf(maps);
    for (const [old, dropped] of this.#maps) {
      if (this.#bytes <= this.limit || old === address) break;
      this.#maps.delete(old);
      this.#bytes -= sizeOf(dropped);
    }
  }

  /** Forget what could not be read, so that it is tried again. */
  forgive() {
    for (const [address, maps] of this.#maps) if (maps === null) this.#maps.delete(address);
  }
}

const sizeOf = (maps) => (maps ?? []).reduce((sum, map) => sum + (map?.values.length ?? 0), 0);
