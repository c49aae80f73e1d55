import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deflateSync } from 'node:zlib';

import { decodeGrey } from '../../keras_saliency/board/static/png.js';

function chunk(type, body) {
  const made = Buffer.alloc(12 + body.length);
  made.writeUInt32BE(body.length, 0);
  made.write(type, 4);
  made.set(body, 8);
  return made;
}

/** A PNG of rows that begin with their filter; its data lies in two chunks. */
function png(width, height, rows, { depth = 8, colour = 0 } = {}) {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([depth, colour], 8);
  const data = deflateSync(Buffer.from(rows.flat()));
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const parts = [data.subarray(0, 3), data.subarray(3)].map((part) => chunk('IDAT', part));
  return Buffer.concat([
    signature,
    chunk('IHDR', header),
    chunk('tEXt', Buffer.from('a b')),
    ...parts,
    chunk('IEND', []),
  ]);
}

test('each filter is undone', async () => {
  const { width, height, values } = await decodeGrey(
    png(3, 5, [
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
  const inside = Uint8Array.from([0, 0, 0, ...png(1, 1, [[0, 77]])]);
  assert.deepEqual([...(await decodeGrey(inside.subarray(3))).values], [77]);
});

test('what is no grey PNG is refused', async () => {
  await assert.rejects(decodeGrey(new Uint8Array([1, 2, 3])), /not a PNG/);
  await assert.rejects(decodeGrey(png(1, 1, [[0, 1, 2, 3]], { colour: 2 })), /greyscale/);
  await assert.rejects(decodeGrey(png(1, 1, [[0, 1, 2]], { depth: 16 })), /8 bits/);
  await assert.rejects(decodeGrey(png(1, 1, [[9, 1]])), /unknown filter/);
  await assert.rejects(decodeGrey(png(1, 1, [[0, 1]]).subarray(0, 8)), /not complete/);
});
