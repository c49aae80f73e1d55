/** One method of one run: its probes and its steps, as far as they are written. */

import { largestPeaks } from './maps.js';

export class Source {
  steps = [];
  peaks = largestPeaks([]);

  constructor(client, run, method) {
    Object.assign(this, { client, run, method });
  }

  /** Read everything; throws a sentence where that can't be. */
  async open() {
    const { run, method } = this;
    const [probes, { steps }] = await Promise.all([
      this.client.json('probes', { run }),
      this.client.json('maps', { run, method }),
    ]);
    this.probes = soundProbes(probes);
    this.#take(steps);
    return this;
  }

  /** Read what was written since, `known` being the steps there are now. */
  async refresh(known) {
    const last = this.steps.at(-1)?.step;
    if (known.length === this.steps.length && known.at(-1) === last) return;
    const grown = this.steps.every(({ step }, i) => known[i] === step);
    if (!grown || last === undefined) {
      await this.open(); // The training was started anew in this folder.
      return;
    }
    const { run, method } = this;
    const { steps } = await this.client.json('maps', { run, method, since: last });
    this.#take([...this.steps, ...steps]);
  }

  #take(steps) {
    this.steps = steps.map(soundStep);
    this.peaks = largestPeaks(this.steps);
  }
}

/** Probes with all that the page relies on, whatever wrote the file. */
function soundProbes(probes) {
  const names = probes.names.map(String);
  const labels = names.map((_, i) => probes.labels?.[i] ?? null);
  const [height, width] = Array.isArray(probes.size) ? probes.size : [1, 1];
  const size = height > 0 && width > 0 ? [height, width] : [1, 1];
  return { ...probes, names, labels, size };
}

const QUANTITIES = ['focus', 'similarity', 'score', 'confidence', 'probability'];

/** A step with all that the page relies on; one of another make becomes an error that is shown. */
export function soundStep(step) {
  const sound = [step.peak, step.dead].every(Array.isArray) && typeof step.key === 'string';
  const error = step.error ?? (sound ? null : 'this step can’t be read');
  const when = String(step.when ?? `step ${step.step}`);
  const [peak, dead] = sound ? [numbers(step.peak), step.dead] : [[], []];
  const read = Object.fromEntries(
    QUANTITIES.filter((name) => name in step).map((name) => [name, numbers(step[name])]),
  );
  return { ...step, ...read, when, error, peak, dead };
}

const numbers = (values) =>
  Array.isArray(values) ? values.map((value) => (Number.isFinite(value) ? value : null)) : null;

/** A verdict with all that the page relies on; `gaps` become a map, which has no names of its own. */
export function soundVerdict(verdict) {
  const { step, text, when, alarm, reliance, threshold, gaps } = verdict;
  const { per_class: classes, sheets, components, examples } = verdict;
  const known = (pair) => Array.isArray(pair) && pair.length === 2 && pair.every(Number.isFinite);
  return {
    ...verdict,
    when: String(when ?? `step ${step}`),
    text: String(text || "can't say: there are no words"),
    alarm: alarm === true,
    reliance: Number.isFinite(reliance) ? reliance : null,
    threshold: Number.isFinite(threshold) ? threshold : null,
    gaps: new Map(Object.entries(gaps ?? {}).filter(([, pair]) => known(pair))),
    per_class: Object.entries(classes ?? {}).filter(([, gap]) => Number.isFinite(gap)),
    sheets: Array.isArray(sheets) ? sheets.map(String) : [],
    places: Object.keys(components ?? {}),
    lists: namesOf(examples),
    cause: typeof verdict.cause === 'string' ? verdict.cause : null,
  };
}

/** The names of the training images in each list, by the name of the list. */
function namesOf(examples) {
  const known = Object.entries(examples ?? {}).filter(([, list]) => Array.isArray(list));
  return new Map(known.map(([kind, list]) => [kind, list.map((pair) => String(pair?.[0]))]));
}

/**
 * Verdicts in the steps of the maps. In a run that counts batches earlier versions counted verdicts
 * by epochs: of those only the last has a place that is known, the end.
 */
export function placed(verdicts, steps) {
  const countsBatches = steps.some(({ when }) => when.startsWith('batch'));
  const isLost = ({ when, step }) => countsBatches && when === `epoch ${step + 1}`;
  return verdicts
    .filter((verdict, i) => !isLost(verdict) || i === verdicts.length - 1)
    .map((verdict) => (isLost(verdict) ? { ...verdict, step: steps.at(-1).step } : verdict));
}
