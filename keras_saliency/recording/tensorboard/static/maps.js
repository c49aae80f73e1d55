/**
 * From raw maps to colours, by the rules of the stock pictures: the sign is meaning, zero is a
 * fixed colour, and the opacity follows the magnitude, so that where there is no evidence the
 * picture stays clean.
 */

/** One of `count` maps of the same size that stand below each other; null where they don't. */
export function partOf({ width, height, values }, at, count) {
  const rows = height / count;
  if (!Number.isInteger(rows)) return null;
  return { width, height: rows, values: values.subarray(at * rows * width, (at + 1) * rows * width) };
}

/** A map's values from its bytes, -1 to 1 times `factor`. */
export function sharesOf({ values }, signed, factor = 1) {
  const [zero, one] = signed ? [128, 127 / factor] : [0, 255 / factor];
  const shares = new Float32Array(values.length);
  for (let i = 0; i < shares.length; i++) shares[i] = (values[i] - zero) / one;
  return shares;
}

/** The largest peaks over steps: `{probes: [one of each probe], all}`. */
export function largestPeaks(steps) {
  const probes = [];
  for (const { peak } of steps) {
    peak.forEach((one, probe) => {
      probes[probe] = Math.max(probes[probe] ?? 0, one ?? 0);
    });
  }
  return { probes, all: probes.reduce((a, b) => Math.max(a, b), 0) };
}

/** The magnitude that gets the last colour: of this map, its probe at all steps, or of all. */
export function scalePeak({ steps, peaks }, index, probe, scale) {
  if (scale === 'map') return steps[index].peak[probe];
  return scale === 'probe' ? peaks.probes[probe] : peaks.all;
}

/**
 * What is drawn of one map: `{width, height, values, signed}` with values in shares of the scale,
 * `{fault}` in words where there is nothing to draw, or null where a map is not there yet.
 *
 * With `since`, the index of another step, it is the difference to the map of that step.
 * `read(step, probe)` gives a map, null where it can't be read, and undefined where it is to come.
 */
export function heatOf(source, index, probe, { scale, since = null }, read) {
  const map = scaledMap(source, index, probe, scale, read);
  if (since === null || !map || map.fault) return map;
  const before = scaledMap(source, since, probe, scale, read);
  if (!before) return null;
  if (before.fault || before.values.length !== map.values.length) {
    return { fault: `no map at ${source.steps[since]?.when ?? 'that step'} to compare with` };
  }
  const values = map.values.map((value, i) => value - before.values[i]);
  return { ...map, values, signed: true };
}

function scaledMap(source, index, probe, scale, read) {
  const step = source.steps[index];
  const fault = faultOf(step, probe);
  if (fault) return { fault };
  const map = read(step, probe);
  if (map === null) return { fault: 'this map could not be read' };
  if (!map) return null;
  const factor = step.peak[probe] / scalePeak(source, index, probe, scale);
  const values = sharesOf(map, step.signed, factor);
  return { width: map.width, height: map.height, values, signed: step.signed };
}

/** Why there is nothing to draw of a probe at a step, or null. */
export function faultOf(step, probe) {
  if (!step) return 'no map at this step';
  if (step.error) return step.error;
  if ((step.peak[probe] ?? null) === null) return 'map is NaN or Inf';
  return step.dead[probe] ? 'dead map: every value is 0' : null;
}

/**
 * Resize `{width, height, values}`: bilinearly with half-pixel centres and repeated edges where it
 * grows, by the average of what falls into a cell where it shrinks.
 */
export function resize(map, width, height) {
  if (map.width === width && map.height === height) return map;
  const columns = weightsOf(map.width, width);
  const rows = weightsOf(map.height, height);
  const narrow = new Float32Array(map.height * width);
  for (let y = 0, at = 0; y < map.height; y++) {
    for (const { first, weights } of columns) {
      let sum = 0;
      for (let i = 0; i < weights.length; i++) {
        sum += weights[i] * map.values[y * map.width + first + i];
      }
      narrow[at++] = sum;
    }
  }
  const values = new Float32Array(height * width);
  rows.forEach(({ first, weights }, y) => {
    weights.forEach((weight, i) => {
      for (let x = 0; x < width; x++) {
        values[y * width + x] += weight * narrow[(first + i) * width + x];
      }
    });
  });
  return { ...map, width, height, values };
}

const weightsMade = new Map();

/** Of each new cell of an axis the old cells from `first` on and their weights. */
function weightsOf(from, to) {
  const name = `${from} ${to}`;
  if (!weightsMade.has(name)) {
    const one = from > to ? averaging : interpolating;
    weightsMade.set(
      name,
      Array.from({ length: to }, (_, i) => one(i, from, to)),
    );
  }
  return weightsMade.get(name);
}

function averaging(cell, from, to) {
  const [start, end] = [(cell * from) / to, ((cell + 1) * from) / to];
  const first = Math.floor(start);
  const last = Math.min(from, Math.ceil(end - 1e-9));
  const weights = Array.from({ length: last - first }, (_, i) => {
    const overlap = Math.min(end, first + i + 1) - Math.max(start, first + i);
    return overlap / (end - start);
  });
  return { first, weights };
}

function interpolating(cell, from, to) {
  const place = Math.min(Math.max(((cell + 0.5) * from) / to - 0.5, 0), from - 1);
  const first = Math.min(Math.floor(place), Math.max(0, from - 2));
  return { first, weights: from > 1 ? [1 - (place - first), place - first] : [1] };
}

const LEVELS = 1020; // of magnitude: a multiple of 255, and more than eyes can tell apart

/**
 * Colour values: bytes `width * height * 4`, red, green, blue and opacity.
 *
 * `opacity` is that of the peak, falling with the magnitude, and 0 below the `threshold`; `solid`
 * colours everything above the threshold alike.
 */
export function paint({ values, signed }, colours, style) {
  const lowest = signed ? -LEVELS : 0;
  const table = paints(lowest, colours, style);
  const painted = new Uint32Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const level = Math.round(values[i] * LEVELS);
    painted[i] = table[(level < lowest ? lowest : level > LEVELS ? LEVELS : level) - lowest];
  }
  return new Uint8ClampedArray(painted.buffer);
}

/** The four bytes of each level from the lowest on, as one number. */
function paints(lowest, colours, { opacity, threshold, solid = false }) {
  const bytes = new Uint8ClampedArray(4 * (LEVELS - lowest + 1));
  for (let level = lowest; level <= LEVELS; level++) {
    const colour = 3 * Math.round((255 * (level - lowest)) / (LEVELS - lowest));
    const magnitude = Math.abs(level) / LEVELS;
    const share = solid ? 1 : opacity * (1 - (1 - magnitude) ** 3);
    const shown = magnitude < threshold ? 0 : 255 * share;
    bytes.set([...colours.subarray(colour, colour + 3), shown], 4 * (level - lowest));
  }
  return new Uint32Array(bytes.buffer);
}

/** The size of a canvas with the shape of a picture and a given longest side. */
export function fit([height, width], longest) {
  const scale = longest / Math.max(height, width);
  return [Math.max(1, Math.round(height * scale)), Math.max(1, Math.round(width * scale))];
}

/** What a canvas needs at most: a map that is nearly as fine is drawn cell by cell. */
export function canvasSize(map, [height, width]) {
  const enough = (cells, pixels) => (2 * cells < pixels ? pixels : Math.min(cells, pixels));
  return [enough(map.height, height), enough(map.width, width)];
}

/** The border of a mask as the path of an SVG, in pixels of the mask. */
export function outline({ width, height, values }) {
  const inside = (x, y) =>
    x >= 0 && y >= 0 && x < width && y < height && values[y * width + x] > 127;
  const path = [];
  for (let y = 0; y <= height; y++) {
    for (let x = 0; x <= width; x++) {
      if (inside(x, y) !== inside(x, y - 1)) path.push(`M${x} ${y}h1`);
      if (inside(x, y) !== inside(x - 1, y)) path.push(`M${x} ${y}v1`);
    }
  }
  return path.join('');
}
