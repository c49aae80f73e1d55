import assert from 'node:assert/strict';
import { test } from 'node:test';

import { largestPeaks } from '../../../../keras_saliency/recording/tensorboard/static/maps.js';
import { Scene } from '../../../../keras_saliency/recording/tensorboard/static/scene.js';

function source(name, steps, names = ['owl', 'fox']) {
  const made = steps.map((step) => ({
    step,
    when: `step ${step}`,
    signed: false,
    peak: names.map(() => 1),
    dead: names.map(() => false),
    key: `${name} ${step}`,
    error: null,
    focus: [step, -step],
  }));
  const probes = { names, labels: names.map(() => null), classes: [], mask_pictures: ['m0', 'm1'] };
  return { probes, steps: made, peaks: largestPeaks(made) };
}

const below = (...values) => ({ width: 1, height: values.length, values: new Uint8Array(values) });

function scene({ present = {}, state = {}, ...rest } = {}) {
  return new Scene({
    maps: {
      get: (address) => present[address],
    },
    client: { picture: (key) => `at ${key}` },
    state: { step: 2, since: null, scale: 'map', order: 'given', filter: '', ...state },
    source: source('a', [0, 1, 2, 3]),
    other: null,
    orderedBy: 3,
    shown: state.step ?? 2,
    ...rest,
  });
}

test('what is missed is read first, then the next steps', () => {
  const found = scene({ present: { 'at a 2': below(255, 51), 'at a 3': below(1, 2, 3) } });
  assert.deepEqual([...found.map(found.source, 2, 0).values], [1]);
  assert.deepEqual([...found.map(found.source, 2, 1).values], [Math.fround(0.2)]);
  assert.match(found.map(found.source, 3, 1).fault, /could not be read/); // 3 rows for 2 maps
  assert.equal(found.map(found.source, 0, 1), null);
  assert.deepEqual(found.addresses(), ['at a 0', 'at a 2', 'at a 3', 'at a 1', 'at a 0']);
});

test('both sources are read ahead alike, but for steps that have no maps', () => {
  const found = scene({ other: source('b', [0, 2, 4]) });
  found.source.steps[3].error = 'no layer';
  assert.deepEqual(found.addresses(), ['at a 2', 'at b 2', 'at b 4', 'at a 1', 'at b 0', 'at a 0']);
});

test('what the slider stands at is read ahead, though the pictures are still behind', () => {
  const found = scene({ present: { 'at a 0': below(255, 51) }, shown: 0 });
  found.map(found.source, found.index, 0);
  assert.deepEqual([found.index, found.current], [0, 2]);
  assert.deepEqual(found.addresses().slice(0, 2), ['at a 2', 'at a 3']);
});

test('a mask is read like a map, and where there is none nothing is missed', () => {
  const found = scene();
  assert.equal(found.mask(found.source, 1), undefined);
  assert.deepEqual(found.wishes, ['at m1']);
  found.source.probes.mask_pictures = null;
  assert.equal(found.mask(found.source, 1), null);
});

test('another source is shown at the same step, with its probe of the same name', () => {
  const other = source('b', [0, 2], ['fox', 'cat']);
  const found = scene({ other });
  assert.equal(found.indexIn(other), 1);
  assert.equal(found.probeIn(other, 1), 0);
  assert.equal(found.probeIn(other, 0), -1);
  assert.equal(found.probeIn(found.source, 1), 1);
});

test('rows are ordered by the step they are said to be ordered by', () => {
  const [{ probes }] = scene({ state: { order: 'focus' } }).groups;
  assert.deepEqual(probes, [1, 0]);
});

test('whatever changes a style is in its name', () => {
  const style = ({ probe = 0, ...state }) => {
    const found = scene({ state: { opacity: 1, threshold: 0, colours: 'jet', ...state } });
    return found.styleOf(found.source, found.index, probe);
  };
  const changes = [
    {},
    { probe: 1 },
    { step: 1 },
    { since: 0 },
    { scale: 'all' },
    { opacity: 0.5 },
    { threshold: 0.1 },
    { colours: 'grey' },
  ];
  assert.equal(new Set(changes.map(style)).size, changes.length);
});
