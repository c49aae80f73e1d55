/** The verdict in words, and what it rests on: gaps and focus over time, and the twins. */

import { focusLines } from './charts.js';
import { element, write } from './dom.js';
import { CHANCE, Plot } from './plot.js';
import { indexAt } from './rows.js';
import { hundredths } from './words.js';

const ASK =
  'No verdict: pass shortcuts=... to SaliencyCallback, and the model is tested for shortcuts.';

const AWAITED = 'No verdict yet: the first comes after an epoch.';
const MARKS = { true: '!', maybe: '!', false: '✓', none: '?' };

/** Whether there is an alarm: also "maybe", which a second evaluation would confirm, or "none". */
export function alarmOf(verdict) {
  if (!verdict) return 'none';
  if (verdict.alarm) return 'true';
  if (verdict.text.startsWith('may rely on')) return 'maybe';
  const knows = verdict.reliance !== null && !verdict.text.startsWith("can't say");
  return knows ? 'false' : 'none';
}

/** The last verdict at or before a step; null before the first. */
export function verdictAt(verdicts, step) {
  return verdicts[indexAt(verdicts, step?.step ?? -Infinity)] ?? null;
}

/** A verdict in words, or that there is none yet. */
export function wordsOf(verdicts, step) {
  const verdict = verdictAt(verdicts, step);
  if (verdict) return `${verdict.when}: ${verdict.text}`;
  if (!verdicts.length) return 'no verdict';
  return `${step?.when ?? 'Now'}: no verdict yet; the first is of ${verdicts[0].when}`;
}

/** The line above which there may be an alarm; null of files that don't say. */
export function thresholdOf({ threshold }) {
  return threshold === null ? null : [threshold, 'threshold of the alarm'];
}

/** A verdict as a mark and a line of words. */
class Line {
  constructor(tag, ...others) {
    this.text = element('span', { className: 'text' });
    this.mark = element('span', { className: 'mark', 'aria-hidden': 'true' });
    this.element = element(tag, {}, this.mark, this.text, ...others);
  }

  draw(run, verdicts, step) {
    const alarm = alarmOf(verdictAt(verdicts, step));
    this.element.dataset.alarm = this.mark.dataset.alarm = alarm;
    write(this.mark, MARKS[alarm]);
    write(this.text, `${run ? `${run}: ` : ''}${wordsOf(verdicts, step)}`);
    return alarm;
  }
}

export class Verdict {
  #sheets = '';

  constructor(page) {
    this.line = new Line('summary', element('span', { className: 'more' }));
    this.beside = new Line('p');
    this.plot = new Plot('Probability lost when a thing is swapped', (step) => page.goToStep(step));
    this.focus = new Plot('Mean focus on the object, × chance', (step) => page.goToStep(step));
    this.classes = element('p', { className: 'note' });
    this.how = element('p', { className: 'note' });
    this.sheets = element('div', { className: 'sheets' });
    const facts = element(
      'div',
      { className: 'facts' },
      this.plot.element,
      this.focus.element,
      this.classes,
      this.how,
    );
    const evidence = element('div', { className: 'evidence' }, facts, this.sheets);
    this.details = element('details', {}, this.line.element, evidence);
    this.none = element('p', { className: 'note' }, ASK);
    const parts = [this.details, this.none, this.beside.element];
    this.element = element('div', { className: 'verdict' }, ...parts);
  }

  /** Draw the verdict as of a step, and that of the run beside it. */
  draw({ client, verdicts, otherVerdicts, source, other, step }) {
    const two = Boolean(other) && other.run !== source.run;
    this.beside.element.hidden = !two;
    if (two) this.beside.draw(other.run, otherVerdicts, step);
    this.details.hidden = !verdicts.length;
    this.none.hidden = verdicts.length > 0;
    const { verdict: tested = 'none' } = source.probes.settings ?? {};
    write(this.none, tested === 'none' ? ASK : AWAITED);
    this.element.dataset.alarm = this.line.draw(two && source.run, verdicts, step);
    if (!verdicts.length) return;
    this.#drawGaps(verdicts, verdictAt(verdicts, step), step);
    this.#drawFocus(source, other, step);
    this.#drawSheets(client, verdictAt(verdicts, step));
  }

  #drawGaps(verdicts, verdict, step) {
    const names = [...new Set(verdicts.flatMap(({ gaps }) => [...gaps.keys()]))];
    const lines = names.map((name) => ({
      name,
      points: verdicts.map(({ step: at, gaps }) => [at, ...(gaps.get(name) ?? [null])]),
    }));
    const whenOf = (at) => verdicts.find(({ step: one }) => one === at)?.when ?? String(at);
    const landmark = thresholdOf(verdict ?? verdicts[0]);
    const at = verdict?.step ?? step?.step;
    this.plot.draw(lines, at, { held: [0], landmark, whenOf, say: hundredths });
    const classes = (verdict?.per_class ?? []).map(([name, gap]) => `${name} ${hundredths(gap)}`);
    write(this.classes, classes.length ? `By class: ${classes.join(', ')}.` : '');
    write(this.how, verdict?.masks_from ? `Where the objects are: ${verdict.masks_from}.` : '');
  }

  /** Of the method that is shown, and of the one beside it where that is of the same run. */
  #drawFocus(source, other, step) {
    const shown = [source, other].filter((one) => one?.run === source.run);
    const nameOf = (method) => (shown.length > 1 ? method : '');
    const lines = focusLines(
      shown.map(({ method, steps }) => ({ name: nameOf(method), steps })),
    );
    const whenOf = (at) => source.steps.find((one) => one.step === at)?.when ?? String(at);
    this.focus.draw(lines, step?.step, { held: [0], landmark: CHANCE, whenOf, say: hundredths });
  }

  #drawSheets(client, verdict) {
    const { when, sheets, sheet_keys: keys } = verdict ?? { sheets: [], sheet_keys: [] };
    const shown = JSON.stringify([sheets, keys]);
    if (shown === this.#sheets) return;
    this.#sheets = shown;
    this.sheets.replaceChildren(
      ...sheets.slice(0, keys.length).map((name, i) => {
        const alt = `Pictures and their twins at ${when}: ${name} swapped`;
        const image = element('img', { src: client.picture(keys[i]), alt, loading: 'lazy' });
        return element('figure', {}, image, element('figcaption', {}, `Twins: ${name} swapped`));
      }),
    );
  }
}
