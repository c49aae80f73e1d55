import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  canvasSize,
  faultOf,
  fit,
  heatOf,
  largestPeaks,
  outline,
  paint,
  partOf,
  resize,
  scalePeak,
  sharesOf,
} from '../../../../keras_saliency/recording/tensorboard/static/maps.js';

const near = (found, wanted, tolerance = 1e-6) => {
  assert.equal(found.length, wanted.length);
  found.forEach((value, i) => {
    assert.ok(Math.abs(value - wanted[i]) <= tolerance, `${[...found]} is not ${wanted}`);
  });
};

/** A source of two steps and two probes, whose maps are 2 wide and 1 high. */
function source({ signed = false } = {}) {
  const step = (name, peak) => ({
    when: name,
    signed,
    peak,
    dead: [false, false],
    error: null,
  });
  const steps = [step('a', [2, 8]), step('b', [4, 1])];
  return { steps, peaks: largestPeaks(steps) };
}

const bytes = {
  a0: [255, 51],
  a1: [0, 255],
  b0: [255, 0],
  b1: [255, 255],
};
const read = ({ when }, probe) => ({
  width: 2,
  height: 1,
  values: Uint8Array.from(bytes[`${when}${probe}`]),
});

test('bytes become shares of the peak', () => {
  near(sharesOf({ values: [0, 51, 255] }, false), [0, 0.2, 1]);
  near(sharesOf({ values: [1, 128, 255, 64.5] }, true), [-1, 0, 1, -0.5]);
});

test('maps that stand below each other are taken apart', () => {
  const all = { width: 2, height: 6, values: Uint8Array.from({ length: 12 }, (_, i) => i) };
  const middle = partOf(all, 1, 3);
  assert.deepEqual([middle.width, middle.height, ...middle.values], [2, 2, 4, 5, 6, 7]);
  assert.deepEqual([...partOf(all, 5, 6).values], [10, 11]);
  assert.equal(partOf(all, 0, 4), null);
  assert.equal(partOf(all, 0, 0), null);
});

test('the scale is the peak of a map, of its probe at all steps, or of all', () => {
  assert.equal(scalePeak(source(), 0, 0, 'map'), 2);
  assert.equal(scalePeak(source(), 0, 0, 'probe'), 4);
  assert.equal(scalePeak(source(), 0, 0, 'all'), 8);
  assert.deepEqual(largestPeaks([{ peak: [null, 3] }, { peak: [1, null] }]), {
    probes: [1, 3],
    all: 3,
  });
  assert.deepEqual(largestPeaks([]), { probes: [], all: 0 });
});

test('a map is drawn on the chosen scale', () => {
  near(heatOf(source(), 0, 0, { scale: 'map' }, read).values, [1, 0.2]);
  near(heatOf(source(), 0, 0, { scale: 'probe' }, read).values, [0.5, 0.1]);
  near(heatOf(source(), 0, 0, { scale: 'all' }, read).values, [0.25, 0.05]);
});

test('a difference is taken on the chosen scale and is signed', () => {
  const alone = heatOf(source(), 1, 0, { scale: 'map', since: 0 }, read);
  near(alone.values, [0, -0.2]);
  assert.equal(alone.signed, true);
  near(heatOf(source(), 1, 0, { scale: 'probe', since: 0 }, read).values, [1 - 0.5, 0 - 0.1]);
  near(heatOf(source(), 1, 0, { scale: 'probe', since: 1 }, read).values, [0, 0]);
});

test('what cannot be drawn says why, and what is not here yet is no fault', () => {
  const faulty = source();
  faulty.steps[0].dead[0] = true;
  faulty.steps[0].peak[1] = null;
  faulty.steps[1].error = 'layer not found';
  assert.match(faultOf(faulty.steps[0], 0), /dead map/);
  assert.match(faultOf(faulty.steps[0], 1), /NaN or Inf/);
  assert.equal(faultOf(faulty.steps[1], 0), 'layer not found');
  assert.match(faultOf(undefined, 0), /no map/);
  assert.equal(faultOf(source().steps[0], 0), null);
  assert.equal(
    heatOf(source(), 0, 0, { scale: 'map' }, () => undefined),
    null,
  );
  assert.match(heatOf(source(), 0, 0, { scale: 'map' }, () => null).fault, /could not be read/);
  const before = heatOf(faulty, 1, 0, { scale: 'map', since: 0 }, read);
  assert.equal(before.fault, 'layer not found');
  faulty.steps[1].error = null;
  assert.match(heatOf(faulty, 1, 0, { scale: 'map', since: 0 }, read).fault, /at a to compare/);
});

test('growing interpolates with half-pixel centres and repeats the edges', () => {
  const grown = resize({ width: 2, height: 1, values: [0, 1] }, 4, 2);
  near(grown.values, [0, 0.25, 0.75, 1, 0, 0.25, 0.75, 1]);
  near(resize({ width: 1, height: 1, values: [0.5] }, 3, 1).values, [0.5, 0.5, 0.5]);
});

test('the middle of a cell stays the middle of what it becomes', () => {
  const values = new Float32Array(35);
  values[2 * 7 + 5] = 1; // row 2 of 5, column 5 of 7
  const { values: grown } = resize({ width: 7, height: 5, values }, 70, 40);
  let [mass, x, y] = [0, 0, 0];
  grown.forEach((value, i) => {
    mass += value;
    x += value * ((i % 70) + 0.5);
    y += value * (Math.floor(i / 70) + 0.5);
  });
  near([x / mass, y / mass], [55, 20], 0.01);
});

test('shrinking averages what falls into a cell', () => {
  near(resize({ width: 4, height: 1, values: [1, 3, 5, 7] }, 2, 1).values, [2, 6]);
  const third = resize({ width: 3, height: 1, values: [1, 2, 4] }, 2, 1).values;
  near(third, [(1 + 1) / 1.5, (1 + 4) / 1.5]);
  near(resize({ width: 1, height: 3, values: [1, 2, 4] }, 1, 1).values, [7 / 3]);
});

test('colour follows the value, and opacity the magnitude', () => {
  const colours = Uint8Array.from({ length: 768 }, (_, i) => Math.floor(i / 3));
  const style = { opacity: 0.8, threshold: 0 };
  const found = paint({ values: [0, 0.5, 1, 2, -1], signed: false }, colours, style);
  const half = Math.round(255 * 0.8 * (1 - 0.5 ** 3));
  assert.deepEqual(
    [...found],
    [0, 0, 0, 0, 128, 128, 128, half, 255, 255, 255, 204, 255, 255, 255, 204, 0, 0, 0, 0],
  );
});

test('of signed values zero is the middle colour and the sign has no part in the opacity', () => {
  const colours = Uint8Array.from({ length: 768 }, (_, i) => Math.floor(i / 3));
  const found = paint({ values: [-1, 0, 1], signed: true }, colours, { opacity: 1, threshold: 0 });
  assert.deepEqual(
    [0, 4, 8].map((i) => found[i]),
    [0, 128, 255],
  );
  assert.deepEqual(
    [3, 7, 11].map((i) => found[i]),
    [255, 0, 255],
  );
});

test('below the threshold nothing is seen, and what is solid is opaque above it', () => {
  const colours = new Uint8Array(768);
  const opacities = (style) =>
    [...paint({ values: [0, 0.4, -0.6], signed: true }, colours, style)].filter(
      (_, i) => i % 4 === 3,
    );
  assert.deepEqual(opacities({ opacity: 1, threshold: 0.5 }), [
    0,
    0,
    Math.round(255 * (1 - 0.4 ** 3)),
  ]);
  assert.deepEqual(opacities({ opacity: 0.2, threshold: 0.5, solid: true }), [0, 0, 255]);
  assert.deepEqual(opacities({ opacity: 0.2, threshold: 0, solid: true }), [255, 255, 255]);
});

test('a canvas has the shape of its picture', () => {
  assert.deepEqual(fit([90, 120], 160), [120, 160]);
  assert.deepEqual(fit([1000, 2], 68), [68, 1]);
});

test('a map that is nearly as fine as the canvas is drawn cell by cell', () => {
  const map = (height, width) => ({ height, width });
  assert.deepEqual(canvasSize(map(7, 7), [120, 160]), [120, 160]);
  assert.deepEqual(canvasSize(map(112, 112), [160, 160]), [112, 112]);
  assert.deepEqual(canvasSize(map(80, 59), [160, 120]), [80, 120]);
  assert.deepEqual(canvasSize(map(400, 300), [160, 120]), [160, 120]);
});

test('an outline runs between what is inside and what is not', () => {
  const edges = outline({ width: 2, height: 1, values: [0, 255] })
    .match(/M[^M]+/g)
    .sort();
  assert.deepEqual(edges, ['M1 0h1', 'M1 0v1', 'M1 1h1', 'M2 0v1']);
  assert.equal(outline({ width: 2, height: 2, values: [0, 127, 0, 0] }), '');
});
