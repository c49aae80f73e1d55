/** Colour maps of 256 colours, equal to those of the same names in matplotlib. */

// Every fifth colour as hexadecimal red, green and blue; a straight line between them is less than
// two steps of 255 off.
const SAMPLED = {
  inferno:
    '00000402020c0504170a072210092d160b391e0c45260c512f0a5b380962400a67490b6a510e6c59106e' +
    '61136e69166e71196e781c6d801f6c88226a902568982766a02a63a82e5fb0315bb73557bf3952c63d4d' +
    'cc4248d34743d94d3ddf5337e45a31e9612bed6925f1711ff47918f78212f98b0bfa9407fb9d07fca60c' +
    'fcb014fbba1ffac42af8cd37f6d746f4e156f2ea69f2f27df5f992fcffa4',
  viridis:
    '44015446085c471063481769481d6f482475472a7a46307e453781433d844142873f48893d4e8a3a538b' +
    '38598c355e8d33638d31688e2e6d8e2c718e2a768e297b8e27808e25848e23898e218e8d20928c1f978b' +
    '1e9c891fa18821a58524aa8328ae802eb37c35b7793dbc7446c06f50c46a5ac86465cb5e70cf577cd250' +
    '89d54895d840a2da37b0dd2fbddf26cae11fd8e219e5e419f1e51dfde725',
};

// Corners `[position, value]` of red, green and blue.
const PIECEWISE = {
  jet: [
    [
      [0, 0],
      [0.35, 0],
      [0.66, 1],
      [0.89, 1],
      [1, 0.5],
    ],
    [
      [0, 0],
      [0.125, 0],
      [0.375, 1],
      [0.64, 1],
      [0.91, 0],
      [1, 0],
    ],
    [
      [0, 0.5],
      [0.11, 1],
      [0.34, 1],
      [0.65, 0],
      [1, 0],
    ],
  ],
  grey: [
    [
      [0, 0],
      [1, 1],
    ],
    [
      [0, 0],
      [1, 1],
    ],
    [
      [0, 0],
      [1, 1],
    ],
  ],
  'blue-red': [
    [
      [0, 0],
      [0.5, 1],
      [1, 1],
    ],
    [
      [0, 0],
      [0.5, 1],
      [1, 0],
    ],
    [
      [0, 1],
      [0.5, 1],
      [1, 0],
    ],
  ],
};

/** For magnitudes, from zero; `DIVERGING` has zero in the middle and is for signed maps. */
export const SEQUENTIAL = ['inferno', 'viridis', 'jet', 'grey'];
export const DIVERGING = 'blue-red';

const made = new Map();

/** The colours of a colour map: bytes `256 * 3`. */
export function palette(name) {
  if (!made.has(name)) {
    const channels = SAMPLED[name] ? sampled(SAMPLED[name]) : PIECEWISE[name];
    const colours = new Uint8Array(256 * 3);
    for (let i = 0; i < colours.length; i++) {
      colours[i] = Math.round(255 * interpolate(channels[i % 3], Math.floor(i / 3) / 255));
    }
    made.set(name, colours);
  }
  return made.get(name);
}

function sampled(text) {
  const count = text.length / 6;
  return [0, 2, 4].map((offset) =>
    Array.from({ length: count }, (_, i) => [
      i / (count - 1),
      parseInt(text.slice(6 * i + offset, 6 * i + offset + 2), 16) / 255,
    ]),
  );
}

function interpolate(corners, position) {
  const after = Math.max(
    1,
    corners.findIndex(([place]) => place >= position),
  );
  const [[start, from], [end, to]] = [corners[after - 1], corners[after]];
  return from + ((to - from) * (position - start)) / (end - start);
}
