import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  around,
  cellSize,
  groupRows,
  inSight,
  indexAt,
  layRows,
} from '../../../../keras_saliency/recording/tensorboard/static/rows.js';

const probes = {
  names: ['b 10', 'a', 'b 2', 'Owl'],
  labels: ['dog', 'cat', 'dog', null],
  classes: ['cat', 'dog', 'fox'],
};
const step = { focus: [2, null, 1, 3], similarity: [0.1, 0.5, 0.9, null], score: [-1, 4, -2, 0] };
const dogs = (order) => groupRows(probes, step, { order, filter: '' })[1].probes;

test('probes stand by class in the order of the classes, those without one last', () => {
  const groups = groupRows(probes, step, { order: 'given', filter: '' });
  assert.deepEqual(groups, [
    { label: 'cat', probes: [1] },
    { label: 'dog', probes: [0, 2] },
    { label: null, probes: [3] },
  ]);
});

test('labels that are none of the classes have groups of their own', () => {
  const odd = { names: ['x', 'y'], labels: ['new', 'new'], classes: null };
  assert.deepEqual(groupRows(odd, step, { order: 'given', filter: '' }), [
    { label: 'new', probes: [0, 1] },
  ]);
});

test('each order orders', () => {
  assert.deepEqual(dogs('given'), [0, 2]);
  assert.deepEqual(dogs('name'), [2, 0]); // numbers as numbers
  assert.deepEqual(dogs('focus'), [2, 0]);
  assert.deepEqual(dogs('change'), [0, 2]);
  assert.deepEqual(dogs('score'), [2, 0]);
});

test('what is not known comes last, also where there is no step', () => {
  const one = { names: ['a', 'b', 'c'], labels: [null, null, null], classes: [] };
  const order = (found) => groupRows(one, found, { order: 'focus', filter: '' })[0].probes;
  assert.deepEqual(order({ focus: [null, 3, 1] }), [2, 1, 0]);
  assert.deepEqual(order(undefined), [0, 1, 2]);
});

test('the filter looks for a part of the name in any case', () => {
  const groups = groupRows(probes, step, { order: 'given', filter: ' OW ' });
  assert.deepEqual(groups, [{ label: null, probes: [3] }]);
  assert.deepEqual(groupRows(probes, step, { order: 'given', filter: 'zebra' }), []);
});

test('rows lie below each other, with headings where there are several groups', () => {
  const groups = [
    { label: 'a', probes: [4, 2] },
    { label: 'b', probes: [0] },
  ];
  const { items, height } = layRows(groups, { heading: 30, row: 70 });
  assert.deepEqual(
    items.map(({ top }) => top),
    [0, 30, 100, 170, 200],
  );
  assert.deepEqual(
    items.map(({ probe }) => probe),
    [undefined, 4, 2, undefined, 0],
  );
  assert.equal(height, 270);
  assert.equal(layRows(groups.slice(1), { heading: 30, row: 70 }).height, 70);
});

test('cells are as wide and high as the pictures, but never too narrow to be named', () => {
  const cell = { longest: 68, room: 8, narrowest: 60 };
  assert.deepEqual(cellSize([100, 100], cell), { width: 76, height: 76 });
  assert.deepEqual(cellSize([200, 100], cell), { width: 60, height: 76 });
  assert.deepEqual(cellSize([10, 100], cell), { width: 76, height: 60 });
});

test('only cells in sight are made', () => {
  assert.deepEqual(inSight(0, 100, 50, 9), [0, 3]);
  assert.deepEqual(inSight(125, 100, 50, 9), [1, 6]);
  assert.deepEqual(inSight(400, 100, 50, 9), [7, 9]);
  assert.deepEqual(inSight(0, 100, 50, 0), [0, 0]);
});

test('a step that another run lacks is the one before it', () => {
  const steps = [{ step: -1 }, { step: 0 }, { step: 5 }];
  assert.equal(indexAt(steps, 5), 2);
  assert.equal(indexAt(steps, 4), 1);
  assert.equal(indexAt(steps, -2), -1);
  assert.equal(indexAt(steps, Infinity), 2);
});

test('the nearest steps are read first', () => {
  assert.deepEqual(around(1, 5, 2), [2, 0, 3]);
  assert.deepEqual(around(0, 1, 9), []);
});
