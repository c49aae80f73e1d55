import assert from 'node:assert/strict';
import { test } from 'node:test';

import { placed, soundVerdict } from '../../../../keras_saliency/recording/tensorboard/static/source.js';
import { alarmOf, ranked, verdictAt, wordsOf, wordsOfSheet } from '../../../../keras_saliency/recording/tensorboard/static/verdict.js';

const verdict = (step, text, more = {}) =>
  soundVerdict({ step, when: `epoch ${step + 1}`, text, reliance: 0.1, alarm: false, ...more });

test('a tick is for what was tested and gave no alarm', () => {
  assert.equal(alarmOf(null), 'none');
  assert.equal(alarmOf(verdict(0, "can't say yet: it has not learnt")), 'none');
  assert.equal(alarmOf(verdict(0, 'no evidence of cast', { reliance: null })), 'none');
  assert.equal(alarmOf(verdict(0, 'may rely on the cast (gap 0.92 ± 0.01)')), 'maybe');
  assert.equal(alarmOf(verdict(0, 'relies on the cast', { alarm: true })), 'true');
  assert.equal(alarmOf(verdict(0, 'no evidence of cast')), 'false');
});

test('no verdict holds before it was given', () => {
  const verdicts = [verdict(0, 'one'), verdict(3, 'two')];
  const at = (step) => verdictAt(verdicts, { step })?.text ?? null;
  assert.deepEqual([-1, 0, 2, 3, 9].map(at), [null, 'one', 'one', 'two', 'two']);
  assert.equal(verdictAt(verdicts, undefined), null);
  const before = { step: -1, when: 'before training' };
  assert.match(wordsOf(verdicts, before), /^before training: no verdict yet.*epoch 1$/);
  assert.equal(wordsOf(verdicts, { step: 2 }), 'epoch 1: one');
  assert.equal(wordsOf([], before), 'no verdict');
});

test('a verdict of another make is read as far as it goes', () => {
  const gaps = { cast: [0.5, 0.1], constructor: [1], frame: 'x', mark: [null, 1] };
  const read = soundVerdict({ step: 4, gaps, per_class: { a: 1, b: 'x' }, sheets: 'x', alarm: 1 });
  assert.deepEqual([...read.gaps], [['cast', [0.5, 0.1]]]);
  assert.deepEqual([read.per_class, read.sheets, read.alarm], [[['a', 1]], [], false]);
  assert.deepEqual(read.places, []);
  const components = { 'off the object': { passes: true } };
  assert.deepEqual(verdict(0, 'x', { components }).places, ['off the object']);
  assert.deepEqual([read.when, read.reliance, read.threshold], ['step 4', null, null]);
  assert.equal(alarmOf(read), 'none');
  assert.equal(read.gaps.get('toString'), undefined);
});

test('training images are listed by their names, whatever wrote them', () => {
  const examples = { teaching: [['a.jpg', 0.99], ['b.jpg', 1], null], contradicting: 'x' };
  const { lists } = verdict(0, 'x', { examples });
  assert.deepEqual([...lists], [['teaching', ['a.jpg', 'b.jpg', 'undefined']]]);
  const titles = { teaching: 'They teach it' };
  const found = wordsOfSheet('teaching', 'epoch 5', [], lists, titles);
  assert.deepEqual(found, ['They teach it, at epoch 5', 'They teach it, at epoch 5: a.jpg, b.jpg, undefined']);
  const swapped = wordsOfSheet('cast', 'epoch 5', [], lists, titles);
  assert.deepEqual(swapped, ['cast swapped, at epoch 5', 'Original and counterfactual images: cast swapped, at epoch 5']);
  assert.equal(wordsOfSheet('off', 'epoch 5', ['off'], lists, titles)[0], 'relies on something off, at epoch 5');
});

test('verdicts that count epochs have no place among batches, but for the last', () => {
  const epochs = [verdict(0, 'a'), verdict(1, 'b'), verdict(2, 'c')];
  const batches = [0, 100, 200].map((step) => ({ step, when: `batch ${step}` }));
  assert.deepEqual(
    placed(epochs, batches).map(({ step, text }) => [step, text]),
    [[200, 'c']],
  );
  const rightly = [verdict(100, 'a', { when: 'epoch 1' }), verdict(200, 'b', { when: 'epoch 2' })];
  assert.deepEqual(placed(rightly, batches), rightly);
  assert.deepEqual(placed(epochs, [{ step: 0, when: 'epoch 1' }]), epochs);
});

test('sheets come by their gaps, and only those above the threshold, or one, at once', () => {
  const gaps = new Map([
    ['mark', [0.01, 0.01]],
    ['cast', [0.4, 0.01]],
    ['background', [0.9, 0.01]],
  ]);
  const names = ['mark', 'cast', 'background', 'logo'];
  assert.deepEqual(ranked({ gaps, threshold: 0.2 }, names), [
    ['background', 'cast'],
    ['mark', 'logo'],
  ]);
  assert.deepEqual(ranked({ gaps, threshold: 0.95 }, names)[0], ['background']);
  assert.deepEqual(ranked({ gaps, threshold: null }, names)[0], ['background']);
  assert.deepEqual(ranked({ gaps: new Map(), threshold: null }, []), [[], []]);
});
