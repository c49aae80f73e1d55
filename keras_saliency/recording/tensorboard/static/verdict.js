/** The verdict in words, and what it rests on: gaps and focus over time, and the twins. */

import { focusLines } from './charts.js';
import { element, write } from './dom.js';
import { CHANCE, Plot } from './plot.js';
import { indexAt } from './rows.js';
import { hundredths } from './words.js';

const ASK =
  'No verdict: pass shortcuts=... to SaliencyCallback, and the model is tested for shortcuts.';

/** The line above which there may be an alarm; null of files that don't say. */
export function thresholdOf({ threshold }) {
  return typeof threshold === 'number' ? [threshold, 'threshold of the alarm'] : null;
}

export class Verdict {
  #sheets = '';

  constructor(page) {
    this.text = element('span', { className: 'text' });
    this.mark = element('span', { className: 'mark', 'aria-hidden': 'true' });
    this.plot = new Plot('Probability lost when a thing is swapped', (step) => page.goToStep(step));
    this.focus = new Plot('Mean focus on the object, × chance', (step) => page.goToStep(step));
    this.classes = element('p', { className: 'note' });
    this.how = element('p', { className: 'note' });
    this.sheets = element('div', { className: 'sheets' });
    const summary = element(
      'summary',
      {},
      this.mark,
      this.text,
      element('span', { className: 'more' }),
    );
    const facts = element(
      'div',
      { className: 'facts' },
      this.plot.element,
      this.focus.element,
      this.classes,
      this.how,
    );
    const evidence = element('div', { className: 'evidence' }, facts, this.sheets);
    this.details = element('details', {}, summary, evidence);
    this.none = element('p', { className: 'note' }, ASK);
    this.element = element('div', { className: 'verdict' }, this.details, this.none);
  }

  draw({ client, verdicts, source, other, step }) {
    this.details.hidden = !verdicts.length;
    this.none.hidden = verdicts.length > 0;
    if (!verdicts.length) return;
    const verdict = verdicts[Math.max(0, indexAt(verdicts, step?.step ?? 0))];
    this.element.dataset.alarm = verdict.alarm === true;
    write(this.mark, verdict.alarm ? '!' : '✓');
    write(this.text, `${verdict.when}: ${verdict.text}`);
    this.#drawGaps(verdicts, verdict);
    this.#drawFocus(source, other, step);
    this.#drawSheets(client, verdict);
  }

  #drawGaps(verdicts, verdict) {
    const names = Object.keys(verdict.gaps ?? {});
    const lines = names.map((name) => ({
      name,
      points: verdicts.map(({ step, gaps }) => [step, ...(gaps?.[name] ?? [null])]),
    }));
    const whenOf = (at) => verdicts.find(({ step }) => step === at)?.when ?? String(at);
    const landmark = thresholdOf(verdict);
    this.plot.draw(lines, verdict.step, { held: [0], landmark, whenOf, say: hundredths });
    const classes = Object.entries(verdict.per_class ?? {}).map(
      ([name, gap]) => `${name} ${hundredths(gap)}`,
    );
    write(this.classes, classes.length ? `By class: ${classes.join(', ')}.` : '');
    write(this.how, verdict.masks_from ? `Where the objects are: ${verdict.masks_from}.` : '');
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

  #drawSheets(client, { when, sheets, sheet_keys: keys }) {
    const shown = JSON.stringify([sheets, keys]);
    if (shown === this.#sheets) return;
    this.#sheets = shown;
    this.sheets.replaceChildren(
      ...(sheets ?? []).slice(0, keys.length).map((name, i) => {
        const alt = `Pictures and their twins at ${when}: ${name} swapped`;
        const image = element('img', { src: client.picture(keys[i]), alt, loading: 'lazy' });
        return element('figure', {}, image, element('figcaption', {}, `Twins: ${name} swapped`));
      }),
    );
  }
}
