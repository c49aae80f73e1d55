import assert from 'node:assert/strict';
import { test } from 'node:test';

import { checking, describe, focusing, hundredths, isChance, meaningOf, number, percent, saying } from '../../../../keras_saliency/recording/tensorboard/static/words.js';

const step = {
  when: 'epoch 4',
  predicted: ['<b>', 'fox'],
  confidence: [0.934, null],
  focus: [2.149, null],
};

test('numbers have three digits', () => {
  const found = [0, 1, -0.4915, 12.345, 1234.5, 99999, 1e-5, null, undefined].map(number);
  assert.deepEqual(found, ['0', '1', '−0.491', '12.3', '1230', '1.0e+5', '1.0e−5', '–', '–']);
});

test('means over a few pictures have two decimals, and zero has no sign', () => {
  const found = [0.9187, -0.25, -0.0013, 12, null, undefined].map(hundredths);
  assert.deepEqual(found, ['0.92', '−0.25', '0.00', '12.00', '–', '–']);
});

test('what is less than certain is never called 100 %', () => {
  const found = [0, 0.001, 0.5, 0.996, 1, null].map(percent);
  assert.deepEqual(found, ['0 %', '< 1 %', '50 %', '> 99 %', '100 %', '–']);
});

test('what the model says, with its confidence where there is one', () => {
  assert.equal(saying(step, 0), 'predicted <b>, 93 %');
  assert.equal(saying(step, 1), 'predicted fox');
  assert.equal(saying({}, 0), 'predicted nothing');
});

test('focus is told where it is known', () => {
  assert.equal(focusing(step, 0), 'focus 2.15 × chance');
  assert.equal(focusing(step, 1), null);
});

test('what hiding costs is told where it was checked', () => {
  const checked = { check: ['hiding this costs 0.41', 'no better', ''], is_chance: [false, true, false] };
  assert.equal(checking(checked, 1), 'no better');
  assert.equal(checking(checked, 2), null);
  assert.equal(checking(step, 0), null);
  assert.deepEqual([checked, step, undefined].map((one) => isChance(one, 1)), [true, false, false]);
  assert.match(describe('owl', 'grad-cam', { ...step, ...checked }, 0, null), /chance; hiding this costs 0.41$/);
});

test('a picture is told to those who do not see it', () => {
  const told = describe('owl', 'grad-cam', step, 0, null);
  assert.equal(told, 'owl, grad-cam at epoch 4: predicted <b>, 93 %; focus 2.15 × chance');
  assert.match(describe('owl', 'grad-cam', step, 0, 'dead map'), /dead map$/);
  assert.equal(describe('owl', 'grad-cam', undefined, 0, null), 'owl: no map at this step');
});

test('a word that every object has is not explained', () => {
  assert.equal(meaningOf({ cast: 'colours' }, 'cast'), 'colours');
  assert.equal(meaningOf({ cast: 'colours' }, 'constructor'), '');
});
