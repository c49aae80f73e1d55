import assert from 'node:assert/strict';
import { test } from 'node:test';

import { readLink, writeLink } from '../../../../keras_saliency/recording/tensorboard/static/link.js';

const state = {
  run: 'lr=0.1&x/saliency 100%',
  method: 'grad-cam',
  step: -1,
  probe: '<b>#1',
  view: 'time',
  withRun: null,
  withMethod: null,
  since: 0,
  filter: 'not in the link',
};

test('what is written is read again', () => {
  const { withRun, withMethod, filter, ...linked } = state;
  assert.deepEqual(readLink(writeLink('', state)), linked);
});

test('what others put into the address stays, and what we put there is replaced', () => {
  const first = writeLink('#keras_saliency&runFilter=a%3Db', state);
  const second = writeLink(first, { ...state, step: 7, probe: null });
  assert.match(second, /^#keras_saliency&runFilter=a%3Db&/);
  assert.equal(second.match(/runFilter/g).length, 1);
  assert.equal(readLink(second).step, 7);
  assert.equal('probe' in readLink(second), false);
});

test('the address of another tab is left alone', () => {
  assert.equal(writeLink('#scalars&tagFilter=loss', state), null);
  assert.match(writeLink('', state), /^#keras_saliency&/);
});

test('what makes no sense is left out', () => {
  const hash =
    '#keras_saliency&p.keras_saliency.step=x&p.keras_saliency.since=1.5' +
    '&p.keras_saliency.nonsense=1&run=foreign&p.keras_saliency.run';
  assert.deepEqual(readLink(hash), {});
  assert.deepEqual(readLink('#keras_saliency&p.keras_saliency.run=100%'), { run: '100%' });
  assert.deepEqual(readLink(''), {});
});
