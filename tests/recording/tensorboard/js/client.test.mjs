import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Client, MapCache } from '../../../../keras_saliency/recording/tensorboard/static/client.js';
import { soundStep } from '../../../../keras_saliency/recording/tensorboard/static/source.js';
import { greyPng } from './made_png.mjs';

const settled = () => new Promise((done) => setTimeout(done, 5));
const picture = (bytes) => ({ width: bytes, height: 1, values: new Uint8Array(bytes) });

test('addresses are below the base and hold any key', () => {
  const client = new Client(new URL('http://host/prefix/data/plugin/keras_saliency/'));
  const address = new URL(client.picture('a&b=/%'));
  assert.equal(address.pathname, '/prefix/data/plugin/keras_saliency/blob');
  assert.equal(address.searchParams.get('key'), 'a&b=/%');
});

test('an answer is read as a picture, and what is none is refused', async () => {
  const server = globalThis.fetch;
  const client = new Client(new URL('http://host/'));
  try {
    globalThis.fetch = async () => new Response(greyPng(1, 2, [[0, 0], [0, 255]]));
    const { width, height, values } = await client.shades('http://host/blob');
    assert.deepEqual([width, height, ...values], [1, 2, 0, 255]);
    globalThis.fetch = async () => new Response('there is no such blob.', { status: 404 });
    await assert.rejects(client.shades('http://host/blob'), /no such blob/);
    globalThis.fetch = async () => new Response(Uint8Array.from([1, 2, 3]));
    await assert.rejects(client.shades('http://host/blob'), /not a PNG/);
  } finally {
    globalThis.fetch = server;
  }
});

test('what is wished for is read once, in order, a few at a time', async () => {
  const asked = [];
  const pending = [];
  const maps = new MapCache(
    (key) => {
      asked.push(key);
      return new Promise((done) => pending.push(() => done(picture(1))));
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
    async () => picture(++reads),
    () => arrivals++,
  );
  maps.wish(['a']);
  assert.equal(maps.get('a'), undefined);
  await settled();
  maps.wish(['a']);
  await settled();
  assert.equal(maps.get('a').width, 1);
  assert.deepEqual([arrivals, reads], [1, 1]);
});

test('beyond the limit what was used longest ago goes', async () => {
  const maps = new MapCache(
    async () => picture(40),
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
    return picture(1);
  };
  const maps = new MapCache(load, () => {});
  maps.wish(['a']);
  await settled();
  assert.equal(maps.get('a'), null);
  broken = false;
  maps.forgive();
  maps.wish(['a']);
  await settled();
  assert.equal(maps.get('a').width, 1);
});

test('a step of another make becomes an error', () => {
  assert.match(soundStep({ step: 3, peak: 'x' }).error, /can’t be read/);
  assert.deepEqual(soundStep({ step: 3 }).peak, []);
  assert.match(soundStep({ step: 3, peak: [1], dead: [false], key: null }).error, /can’t be read/);
  assert.equal(soundStep({ step: 3 }).when, 'step 3');
  const sound = { step: 3, when: 'epoch 4', peak: [1], key: 'k', dead: [false], error: null };
  assert.deepEqual(soundStep(sound), sound);
  const read = soundStep({ ...sound, peak: ['x'], focus: [1, 'x', null], score: 7 });
  assert.deepEqual([read.peak, read.focus, read.score], [[null], [1, null, null], null]);
});
