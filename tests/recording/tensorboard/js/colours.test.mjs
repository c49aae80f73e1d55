import assert from 'node:assert/strict';
import { test } from 'node:test';

import { DIVERGING, SEQUENTIAL, palette } from '../../../../keras_saliency/recording/tensorboard/static/colours.js';

const colour = (name, i) => [...palette(name).subarray(3 * i, 3 * i + 3)];

test('every colour map has 256 colours', () => {
  for (const name of [...SEQUENTIAL, DIVERGING]) assert.equal(palette(name).length, 768);
});

test('grey runs from black to white, and the middle of the diverging map is white', () => {
  assert.deepEqual(
    [0, 100, 255].map((i) => colour('grey', i)[1]),
    [0, 100, 255],
  );
  assert.deepEqual(colour(DIVERGING, 0), [0, 0, 255]);
  assert.deepEqual(colour(DIVERGING, 255), [255, 0, 0]);
  assert.ok(colour(DIVERGING, 128).every((channel) => channel >= 254));
});

test('the corners of jet and the ends of inferno are where they belong', () => {
  assert.deepEqual(colour('jet', 0), [0, 0, 128]);
  assert.deepEqual(colour('jet', 255), [128, 0, 0]);
  assert.deepEqual(colour('inferno', 0), [0, 0, 4]);
  assert.deepEqual(colour('inferno', 255), [252, 255, 164]);
});
