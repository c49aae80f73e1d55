import assert from 'node:assert/strict';
import { test } from 'node:test';

import { decodeGrey } from '../../../../keras_saliency/recording/tensorboard/static/png.js';
import { greyPng } from './made_png.mjs';

test('each filter is undone', async () => {
  const { width, height, values } = await decodeGrey(
    greyPng(3, 5, [
      [0, 10, 20, 30],
      [1, 5, 5, 250], // to the left: 5, 10, 4
      [2, 1, 1, 1], // above: 6, 11, 5
      [3, 10, 10, 10], // half of left and above: 13, 22, 23
      [4, 1, 2, 3], // the nearest: above 13, above 22, left 24
    ]),
  );
  assert.deepEqual([width, height], [3, 5]);
  const wanted = [10, 20, 30, 5, 10, 4, 6, 11, 5, 13, 22, 23, 14, 24, 27];
  assert.deepEqual([...values], wanted);
});

test('a part of a larger buffer is read', async () => {
  const inside = Uint8Array.from([0, 0, 0, ...greyPng(1, 1, [[0, 77]])]);
  assert.deepEqual([...(await decodeGrey(inside.subarray(3))).values], [77]);
});

test('what is no grey PNG is refused', async () => {
  await assert.rejects(decodeGrey(new Uint8Array([1, 2, 3])), /not a PNG/);
  await assert.rejects(decodeGrey(greyPng(1, 1, [[0, 1, 2, 3]], { colour: 2 })), /greyscale/);
  await assert.rejects(decodeGrey(greyPng(1, 1, [[0, 1, 2]], { depth: 16 })), /8 bits/);
  await assert.rejects(decodeGrey(greyPng(1, 1, [[9, 1]])), /unknown filter/);
  await assert.rejects(decodeGrey(greyPng(1, 2, [[0, 1]])), /not complete/);
  await assert.rejects(decodeGrey(greyPng(1, 1, [[0, 1, 2]])));
  await assert.rejects(decodeGrey(greyPng(1, 1, [[0, 1]]).subarray(0, 8)), /not complete/);
  await assert.rejects(decodeGrey(greyPng(1, 2 ** 22 + 1, [[0, 1]])), /too large/);
  await assert.rejects(decodeGrey(greyPng(1, 2 ** 22, [[0, 1]])), /not complete/);
});
