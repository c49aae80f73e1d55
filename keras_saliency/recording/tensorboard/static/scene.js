/** All that one drawing of the page needs to know; it notes which maps it found missing. */

import { heatOf, partOf } from './maps.js';
import { around, groupRows, indexAt } from './rows.js';

const REACH = 12; // steps before and after the present one that are read ahead: all can be kept

export class Scene {
  wishes = [];

  /** `shown` is the step of the pictures, which may be behind the slider's. */
  constructor({ orderedBy, shown, ...page }) {
    const { client, maps, state, runs, source, other, verdicts, otherVerdicts, guidance } = page;
    Object.assign(this, { client, maps, state, runs, source, other, verdicts, otherVerdicts });
    this.guidance = guidance;
    this.index = Math.max(0, indexAt(source.steps, shown));
    this.step = source.steps[this.index];
    this.current = Math.max(0, indexAt(source.steps, state.step));
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

  map(source, index, probe) {
    const { scale, since } = this.state;
    const from = { scale, since: this.indexIn(source, since) };
    return heatOf(source, index, probe, from, (step, at) => {
      const all = this.#read(step.key);
      return all && partOf(all, at, step.peak.length);
    });
  }

  /** What decides how a map looks, in one text. */
  styleOf(source, index, probe) {
    const { scale, since, opacity, threshold, colours } = this.state;
    const key = source.steps[index]?.key;
    const scaledBy = scale === 'map' ? '' : `${source.peaks.all} ${source.peaks.probes[probe]}`;
    const before = since === null ? '' : source.steps[this.indexIn(source, since)]?.key;
    return [key, probe, before, scale, scaledBy, opacity, threshold, colours].join(' ');
  }

  mask(source, probe) {
    const key = source.probes.mask_pictures?.[probe];
    return key ? this.#read(key) : null;
  }

  /** Addresses to read: what is missed first, then what will probably be asked for. */
  addresses() {
    const ahead = [this.source, this.other].filter(Boolean).map((source) => {
      const current = this.indexIn(source, this.state.step);
      return [current, ...around(current, source.steps.length, REACH)].map((i) => source.steps[i]);
    });
    const mixed = Array.from({ length: 2 * REACH + 1 }, (_, i) => ahead.map((steps) => steps[i]));
    const steps = mixed.flat().filter((step) => step && !step.error);
    return [...this.wishes, ...steps.map(({ key }) => this.client.picture(key))];
  }

  #read(key) {
    const address = this.client.picture(key);
    const picture = this.maps.get(address);
    if (picture === undefined) this.wishes.push(address);
    return picture;
  }
}
