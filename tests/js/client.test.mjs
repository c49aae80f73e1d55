import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Client, MapCache } from '../../keras_saliency/board/static/client.js';
import { soundStep } from '../../keras_saliency/board/static/source.js';
import { greyPng } from './made_png.mjs';

const settled = () => new Promise((done) => setTimeout(done, 5));
const map = (bytes) => ({ width: bytes, height: 1, values: new Uint8Array(bytes) });

test('addresses are below the base and hold any key', () => {
  const client = new Client(new URL('http://host/prefix/data/plugin/keras_saliency/'));
  const address = new URL(client.picture('a&b=/%'));
  assert.equal(address.pathname, '/prefix/data/plugin/keras_saliency/blob');
  assert.equal(address.searchParams.get('key'), 'a&b=/%');
});

/** Ask a client for maps where the server gives this answer. */
async function asked(body, type) {
  const server = globalThis.fetch;
  globalThis.fetch = async () => new Response(body, { headers: { 'Content-Type': type } });
  try {
    return await new Client(new URL('http://host/')).maps('http://host/step');
  } finally {
    globalThis.fetch = server;
  }
}

const after = (file) => [0, 0, file.length >> 8, file.length & 255, ...file];

test('the maps of a step are read in order, and a broken one stands for itself', async () => {
  const files = [greyPng(1, 1, [[0, 77]]), [1, 2, 3], greyPng(2, 1, [[0, 5, 6]])];
  const body = Uint8Array.from(files.flatMap((file) => after([...file])));
  const [first, broken, last] = await asked(body, 'application/octet-stream');
  assert.deepEqual([...first.values], [77]);
  assert.equal(broken, null);
  assert.deepEqual([last.width, ...last.values], [2, 5, 6]);
  assert.deepEqual(await asked(new Uint8Array(), 'application/octet-stream'), []);
});

test('an answer that ends too early is refused', async () => {
  const body = Uint8Array.from([0, 0, 1]);
  await assert.rejects(asked(body, 'application/octet-stream'));
});

test('a picture alone is one map', async () => {
  const [mask] = await asked(greyPng(1, 2, [[0, 0], [0, 255]]), 'image/png');
  assert.deepEqual([mask.height, ...mask.values], [2, 0, 255]);
});

test('what is wished for is read once, in order, a few at a time', async () => {
  const asked = [];
  const pending = [];
  const maps = new MapCache(
    (key) => {
      asked.push(key);
      return new Promise((done) => pending.push(() => done([map(1)])));
    },
    () => {},
  );
  maps.wish([1, 2, 2, 3, 4, 5]);
  assert.deepEqual(asked, [1, 2, 3]);
  maps.wish([9, 1]); // the others are out of sight by now
  pending.shift()();
  await settled();
  assert.deepEqual(asked, [1, 2, 3, 9]);
});

test('an arrival is told, and what is here is not read again', async () => {
  let [arrivals, reads] = [0, 0];
  const maps = new MapCache(
    async () => [map(++reads)],
    () => arrivals++,
  );
  maps.wish(['a']);
  assert.equal(maps.get('a'), undefined);
  await settled();
  maps.wish(['a']);
  await settled();
  assert.equal(maps.get('a')[0].width, 1);
  assert.deepEqual([arrivals, reads], [1, 1]);
});

test('beyond the limit what was used longest ago goes', async () => {
  const maps = new MapCache(
    async () => [map(20), null, map(20)],
    () => {},
    100,
  );
  for (const key of ['a', 'b']) {
    maps.wish([key]);
    await settled();
  }
  maps.get('a');
  maps.wish(['c']);
  await settled();
  assert.deepEqual(
    ['a', 'b', 'c'].map((key) => Boolean(maps.get(key))),
    [true, false, true],
  );
});

test('what cannot be read is a fault until it is forgiven', async () => {
  let broken = true;
  const load = async () => {
    if (broken) throw new Error('gone');
    return [map(1)];
  };
  const maps = new MapCache(load, () => {});
  maps.wish(['a']);
  await settled();
  assert.equal(maps.get('a'), null);
  broken = false;
  maps.forgive();
  maps.wish(['a']);
  await settled();
  assert.equal(maps.get('a')[0].width, 1);
});

test('a step of another make becomes an error', () => {
  assert.match(soundStep({ step: 3, peak: 'x' }).error, /can’t be read/);
  assert.deepEqual(soundStep({ step: 3 }).peak, []);
  assert.match(soundStep({ step: 3, peak: [1], dead: [false], key: null }).error, /can’t be read/);
  assert.equal(soundStep({ step: 3 }).when, 'step 3');
  const sound = { step: 3, when: 'epoch 4', peak: [1], key: 'k', dead: [false], error: null };
  assert.deepEqual(soundStep(sound), sound);
});
