/** The verdict in words, what to do, and what it rests on: gaps and focus, counterfactual images. */

import { focusLines } from './charts.js';
import { element, explain, write } from './dom.js';
import { CHANCE, Plot } from './plot.js';
import { indexAt } from './rows.js';
import { hundredths, meaningOf } from './words.js';

const ASK =
  'No verdict: pass shortcuts=... to SaliencyCallback, and the model is tested for shortcuts.';

const AWAITED = 'No verdict yet: the first comes after an epoch.';
const NONE = {
  ...{ when: '', sheets: [], sheet_keys: [], places: [] },
  ...{ lists: new Map(), gaps: new Map(), threshold: null },
};
const DROPPED =
  'TensorBoard keeps ten steps of each image; keras-saliency tensorboard --logdir ... shows all.';
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

/** Names of sheets, the largest gap first: those above the threshold, or one, and the others. */
export function ranked({ gaps, threshold, places }, names) {
  const gapOf = (name) => (places?.includes(name) ? Infinity : (gaps.get(name)?.[0] ?? -1));
  const sorted = [...names].sort((a, b) => gapOf(b) - gapOf(a));
  const above = sorted.filter((name) => gapOf(name) > (threshold ?? Infinity)).length;
  return [sorted.slice(0, Math.max(above, 1)), sorted.slice(Math.max(above, 1))];
}

/** Counterfactual images, or training images, or that TensorBoard has dropped them. */
function sheet(client, key, name, { when, places, lists }, guidance) {
  const [words, alt] = wordsOfSheet(name, when, places, lists, guidance.lists);
  if (key === null) return element('p', { className: 'note' }, `${words}: ${DROPPED}`);
  const caption = element('figcaption', {}, words);
  explain(caption, meaningOf(guidance.terms, name));
  const image = element('img', { src: client.picture(key), alt, loading: 'lazy' });
  return element('figure', {}, image, caption);
}

/** The caption of a sheet, and what is told to those who don't see it. */
export function wordsOfSheet(name, when, places, lists, titles) {
  if (lists.has(name)) {
    const words = `${meaningOf(titles ?? {}, name) || name}, at ${when}`;
    return [words, `${words}: ${lists.get(name).join(', ')}`];
  }
  const isPlace = places.includes(name);
  const words = isPlace ? `relies on something ${name}, at ${when}` : `${name} swapped, at ${when}`;
  const shown = isPlace ? 'Images with the place in color' : 'Original and counterfactual images';
  return [words, `${shown}: ${words}`];
}

export class Verdict {
  #sheets = '';
  #actions = '';

  constructor(page) {
    this.line = new Line('summary', element('span', { className: 'more' }));
    this.beside = new Line('p');
    this.plot = new Plot('Gap: probability lost when a thing is swapped', (step) =>
      page.goToStep(step),
    );
    this.focus = new Plot('Mean focus on the object, × chance', (step) => page.goToStep(step));
    this.classes = element('p', { className: 'note' });
    this.how = element('p', { className: 'note' });
    this.why = element('p', { className: 'why' });
    this.actions = element('ul');
    this.examples = element('div', { className: 'sheets' });
    const title = element('h3', {}, 'What to do next');
    this.next = element('div', { className: 'next' }, title, this.actions, this.examples);
    this.sheets = element('div', { className: 'sheets' });
    const facts = element(
      'div',
      { className: 'facts' },
      this.plot.element,
      this.focus.element,
      this.classes,
      this.how,
    );
    const evidence = element(
      'div',
      { className: 'evidence' },
      this.why,
      this.next,
      facts,
      this.sheets,
    );
    this.details = element('details', {}, this.line.element, evidence);
    this.none = element('p', { className: 'note' }, ASK);
    const parts = [this.details, this.none, this.beside.element];
    this.element = element('div', { className: 'verdict' }, ...parts);
  }

  /** Draw the verdict as of a step, and that of the run beside it. */
  draw({ client, verdicts, otherVerdicts, source, other, step, guidance }) {
    const two = Boolean(other) && other.run !== source.run;
    this.beside.element.hidden = !two;
    if (two) this.beside.draw(other.run, otherVerdicts, step);
    this.details.hidden = !verdicts.length;
    this.none.hidden = verdicts.length > 0;
    const { verdict: tested = 'none' } = source.probes.settings ?? {};
    write(this.none, tested === 'none' ? ASK : AWAITED);
    this.element.dataset.alarm = this.line.draw(two && source.run, verdicts, step);
    if (!verdicts.length) return;
    const verdict = verdictAt(verdicts, step);
    const { terms } = guidance;
    this.#drawGaps(verdicts, verdict, step, terms);
    this.#drawFocus(source, other, step);
    explain(this.focus.caption, terms.focus);
    this.#drawNext(verdict);
    this.#drawSheets(client, verdict ?? NONE, guidance);
  }

  /** Why this cause is named, and what to do about it. */
  #drawNext(verdict) {
    const { why = null, actions = [] } = verdict ?? {};
    write(this.why, why ?? '');
    this.why.hidden = !why;
    this.next.hidden = !actions.length;
    const shown = JSON.stringify(actions);
    if (shown === this.#actions) return;
    this.#actions = shown;
    this.actions.replaceChildren(
      ...actions.map(({ words, link: href }) =>
        element('li', {}, element('a', { href, target: '_blank', rel: 'noopener' }, words), '.'),
      ),
    );
  }

  #drawGaps(verdicts, verdict, step, terms) {
    const names = [...new Set(verdicts.flatMap(({ gaps }) => [...gaps.keys()]))];
    const lines = names.map((name) => ({
      name,
      points: verdicts.map(({ step: at, gaps }) => [at, ...(gaps.get(name) ?? [null])]),
    }));
    const whenOf = (at) => verdicts.find(({ step: one }) => one === at)?.when ?? String(at);
    const landmark = thresholdOf(verdict ?? verdicts[0]);
    const at = verdict?.step ?? step?.step;
    this.plot.draw(lines, at, { held: [0], landmark, whenOf, say: hundredths, terms });
    explain(this.plot.caption, terms.gap);
    const { cause = null, per_class: gapsOf = [] } = verdict ?? {};
    const classes = gapsOf.map(([name, gap]) => `${name} ${hundredths(gap)}`).join(', ');
    write(this.classes, cause && classes ? `Gap of the ${cause} by class: ${classes}.` : '');
    write(this.how, verdict?.masks_from ? `Masks of the objects: ${verdict.masks_from}.` : '');
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

  #drawSheets(client, verdict, guidance) {
    const { sheets, sheet_keys: keys, lists } = verdict;
    const shown = JSON.stringify([sheets, keys, guidance.terms]);
    if (shown === this.#sheets) return;
    this.#sheets = shown;
    const figures = new Map(
      sheets
        .slice(0, keys.length)
        .map((name, i) => [name, sheet(client, keys[i], name, verdict, guidance)]),
    );
    const isListed = (name) => lists.has(name);
    const names = [...figures.keys()];
    const [first, rest] = ranked(verdict, names.filter((name) => !isListed(name)));
    const all = (chosen) => chosen.map((name) => figures.get(name));
    this.examples.replaceChildren(...all(names.filter(isListed)));
    const title = `Counterfactual images of what has a small gap: ${rest.join(', ')}`;
    const others = element('div', { className: 'sheets' }, ...all(rest));
    const more = element('details', {}, element('summary', {}, title), others);
    this.sheets.replaceChildren(...all(first), ...(rest.length ? [more] : []));
  }
}
