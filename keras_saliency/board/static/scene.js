/** All that one drawing of the page needs to know; it notes which maps it found missing. */

import { heatOf } from './maps.js';
import { around, groupRows, indexAt } from './rows.js';

const REACH = 40; // steps before and after the present one that are read ahead
const READ_AHEAD = 600; // maps, about

export class Scene {
  wishes = [];
  #seen = [];

  /** `shown` is the step of the pictures, which may be behind the slider's. */
  constructor({ client, maps, state, runs, source, other, verdicts, orderedBy, shown }) {
    Object.assign(this, { client, maps, state, runs, source, other, verdicts });
    this.index = Math.max(0, indexAt(source.steps, shown));
    this.step = source.steps[this.index];
    this.aim = Math.max(0, indexAt(source.steps, state.step));
    this.groups = groupRows(source.probes, source.steps[orderedBy], state);
  }

  /** Where the present step, or one that differences are taken from, stands in a source. */
  indexIn(source, step = this.step?.step) {
    return step === null ? null : indexAt(source.steps, step);
  }

  /** Which probe of a source shows the same picture as this one, -1 where none does. */
  probeIn(source, probe) {
    return source === this.source
      ? probe
      : source.probes.names.indexOf(this.source.probes.names[probe]);
  }

  heat(source, index, probe) {
    const { scale, since } = this.state;
    const from = { scale, since: this.indexIn(source, since) };
    return heatOf(source, index, probe, from, (key) => this.#read(key));
  }

  /** What decides how a map looks, in one text. */
  lookOf(source, index, probe) {
    const { scale, since, opacity, threshold, colours } = this.state;
    const key = source.steps[index]?.keys[probe];
    const scaledBy = scale === 'map' ? '' : `${source.peaks.all} ${source.peaks.probes[probe]}`;
    const before = since === null ? '' : source.steps[this.indexIn(source, since)]?.keys[probe];
    return [key, before, scale, scaledBy, opacity, threshold, colours].join(' ');
  }

  mask(source, probe) {
    const key = source.probes.mask_pictures?.[probe];
    return key ? this.#read(key) : null;
  }

  /** Note that a probe is in sight, so that its next maps are read ahead. */
  see(source, probe) {
    this.#seen.push([source, probe]);
  }

  /** Keys to read: what is missed first, then what will probably be asked for. */
  keys() {
    const steps = [this.source, this.other]
      .filter(Boolean)
      .map((source) => {
        const aim = this.indexIn(source, this.state.step);
        return [source, [aim, ...around(aim, source.steps.length, REACH)]];
      });
    const next = new Map(steps);
    const ahead = [];
    for (let i = 0; i <= 2 * REACH && ahead.length < READ_AHEAD; i++) {
      for (const [source, probe] of this.#seen) {
        const key = source.steps[next.get(source)[i]]?.keys[probe];
        if (key) ahead.push(key);
      }
    }
    return [...this.wishes, ...ahead];
  }

  #read(key) {
    const map = key ? this.maps.get(key) : null;
    if (map === undefined) this.wishes.push(key);
    return map;
  }
}
