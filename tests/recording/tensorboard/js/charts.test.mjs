import assert from 'node:assert/strict';
import { test } from 'node:test';

import { focusLines, layChart, MARGIN, niceTicks } from '../../../../keras_saliency/recording/tensorboard/static/charts.js';

const SIZE = { width: 40 + 100 + 12, height: 8 + 100 + 22 }; // 100 by 100 within the margins

test('the margins are those that the sizes here reckon with', () => {
  assert.deepEqual(MARGIN, { top: 8, right: 12, bottom: 22, left: 40 });
});

test('ticks are round and hold all values', () => {
  assert.deepEqual(niceTicks(0, 1), [0, 0.5, 1]);
  assert.deepEqual(niceTicks(0.2, 2.6), [0, 1, 2, 3]);
  assert.deepEqual(niceTicks(-1.4, 3.5), [-2, 0, 2, 4]);
  assert.deepEqual(niceTicks(3, 3), [3, 4]);
  assert.deepEqual(niceTicks(0, 0), [0, 0.5]);
  assert.deepEqual(niceTicks(0, 90000), [0, 50000, 100000]);
});

test('a line may run a little beyond the ticks, so that noise below zero needs no tick', () => {
  assert.deepEqual(niceTicks(-0.04, 1.04), [0, 0.5, 1]);
  assert.deepEqual(niceTicks(-0.06, 1.06), [-0.5, 0, 0.5, 1, 1.5]);
  const [{ line }] = layChart([{ points: [[0, -0.04], [1, 1]] }], SIZE).lines;
  assert.equal(line, 'M40 112L140 8');
});

test('a line runs from the first step to the last, larger values above', () => {
  const chart = layChart(
    [
      {
        points: [
          [-1, 0],
          [1, 1],
          [3, 0.5],
        ],
      },
    ],
    SIZE,
  );
  assert.equal(chart.lines[0].line, 'M40 108L90 8L140 58');
  assert.deepEqual(chart.ticks, [0, 0.5, 1]);
  assert.deepEqual(chart.lines[0].dots, []);
});

test('a line breaks where a value is not known, and a lonely value is a dot', () => {
  const points = [
    [0, 0],
    [1, 1],
    [2, null],
    [3, 1],
    [4, null],
  ];
  const [line] = layChart([{ points }], SIZE).lines;
  assert.equal(line.line, 'M40 108L65 8');
  assert.deepEqual(line.dots, [[115, 8]]);
});

test('a band is as wide as the error on both sides', () => {
  const [line] = layChart(
    [
      {
        points: [
          [0, 0.5, 0.5],
          [1, 0.5, 0.25],
        ],
      },
    ],
    SIZE,
  ).lines;
  assert.equal(line.band, 'M40 8L140 33L140 83L40 108Z');
  assert.equal(
    layChart(
      [
        {
          points: [
            [0, 0],
            [1, 1],
          ],
        },
      ],
      SIZE,
    ).lines[0].band,
    '',
  );
});

test('values that are held are always seen', () => {
  const points = [
    [0, 5],
    [1, 6],
  ];
  assert.equal(layChart([{ points }], { ...SIZE, held: [0] }).ticks[0], 0);
  assert.equal(layChart([{ points }], { ...SIZE, held: [11] }).ticks.at(-1), 12);
  assert.ok(layChart([{ points }], SIZE).ticks[0] >= 4);
});

test('a click finds the nearest step', () => {
  const chart = layChart(
    [
      {
        points: [
          [0, 0],
          [10, 1],
          [20, 0],
        ],
      },
    ],
    SIZE,
  );
  assert.equal(chart.step(64), 0);
  assert.equal(chart.step(66), 10);
  assert.equal(chart.step(999), 20);
});

test('one step, and none at all, can be laid out', () => {
  const chart = layChart([{ points: [[7, 2]] }], SIZE);
  assert.deepEqual(chart.lines[0].dots, [[90, 108]]);
  assert.doesNotThrow(() => layChart([{ points: [[7, null]] }], SIZE));
  assert.doesNotThrow(() => layChart([], SIZE));
});

test('the focus of a step is the mean of the probes that have one', () => {
  const steps = [
    { step: -1, focus: [1, null, 4] },
    { step: 0, focus: [null, null, null] },
    { step: 1, focus: [0, 0, 0] },
    { step: 2, error: 'no layer' },
  ];
  const later = [{ step: 2, focus: [7] }];
  assert.deepEqual(
    focusLines([
      { name: 'a', steps },
      { name: 'b', steps: later },
    ]),
    [
      {
        name: 'a',
        points: [
          [-1, 2.5],
          [0, null],
          [1, 0],
          [2, null],
        ],
      },
      { name: 'b', points: [[2, 7]] },
    ],
  );
});
