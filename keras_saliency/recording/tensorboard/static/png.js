/**
 * Reads greyscale PNG files of 8 bits without a canvas: what a canvas gives back may have been
 * colour managed, or blurred by a browser that guards against fingerprinting.
 */

const MOST_PIXELS = 2 ** 22; // of a picture that is unpacked; all maps of a step have fewer
const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** Decode bytes into `{width, height, values}`, the values row by row from 0 to 255. */
export async function decodeGrey(bytes) {
  if (!SIGNATURE.every((byte, i) => bytes[i] === byte)) throw new Error('This is not a PNG file.');
  const { header, data } = readChunks(bytes);
  const [depth, colour, , , interlace] = header.subarray(8);
  if (depth !== 8 || colour !== 0 || interlace !== 0) {
    throw new Error('A map must be a plain greyscale PNG of 8 bits.');
  }
  const view = new DataView(header.buffer, header.byteOffset);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  if (width * height > MOST_PIXELS) throw new Error('The PNG file is too large for maps.');
  const rows = await inflate(data, height * (width + 1));
  return { width, height, values: unfilter(rows, width, height) };
}

/** Unpack into as many bytes as there must be: ten times faster than by way of a `Blob`. */
async function inflate(packed, length) {
  const { readable, writable } = new DecompressionStream('deflate');
  const [writer, reader] = [writable.getWriter(), readable.getReader()];
  const feed = async () => {
    await writer.write(packed);
    await writer.close();
  };
  const rows = new Uint8Array(length);
  const drain = async () => {
    let at = 0;
    for (let next; !(next = await reader.read()).done; at += next.value.length) {
      rows.set(next.value, at);
    }
    if (at < length) throw new Error('The PNG file is not complete.');
  };
  await Promise.all([feed(), drain()]);
  return rows;
}

function readChunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let header;
  const data = [];
  for (let at = SIGNATURE.length; at < bytes.length; at += 12 + view.getUint32(at)) {
    const body = bytes.subarray(at + 8, at + 8 + view.getUint32(at));
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (type === 'IHDR') header = body;
    if (type === 'IDAT') data.push(body);
  }
  if (!header || !data.length) throw new Error('The PNG file is not complete.');
  return { header, data: joined(data) };
}

/** All parts in one, which is unpacked several times as fast as one after the other. */
function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Undo the filter that stands before each row: each byte is a difference to its neighbours. */
function unfilter(rows, width, height) {
  const values = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const from = y * (width + 1);
    const undo = UNDO[rows[from]];
    if (!undo) throw new Error('The PNG file has rows of an unknown filter.');
    const above = y ? values.subarray((y - 1) * width, y * width) : new Uint8Array(width);
    undo(rows.subarray(from + 1, from + 1 + width), above, values.subarray(y * width));
  }
  return values;
}

// By their numbers in the file: how a row follows from its differences and the row above.
const UNDO = [
  (row, above, out) => out.set(row),
  (row, above, out) => {
    for (let x = 0, left = 0; x < row.length; x++) left = out[x] = (row[x] + left) & 255;
  },
  (row, above, out) => {
    for (let x = 0; x < row.length; x++) out[x] = row[x] + above[x];
  },
  (row, above, out) => {
    for (let x = 0, left = 0; x < row.length; x++) {
      left = out[x] = (row[x] + ((left + above[x]) >> 1)) & 255;
    }
  },
  (row, above, out) => {
    for (let x = 0, left = 0, corner = 0; x < row.length; x++) {
      left = out[x] = (row[x] + nearest(left, above[x], corner)) & 255;
      corner = above[x];
    }
  },
];

/** The neighbour that is nearest to `left + above - corner`. */
function nearest(left, above, corner) {
  const [byLeft, byAbove] = [Math.abs(above - corner), Math.abs(left - corner)];
  const byCorner = Math.abs(left + above - 2 * corner);
  if (byLeft <= byAbove && byLeft <= byCorner) return left;
  return byAbove <= byCorner ? above : corner;
}
