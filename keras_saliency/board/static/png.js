/**
 * Reads greyscale PNG files of 8 bits without a canvas: what a canvas gives back may have been
 * colour managed, or blurred by a browser that guards against fingerprinting.
 */

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
  const rows = await inflate(data, height * (width + 1));
  return { width, height, values: unfilter(rows, width, height) };
}

/** Unpack parts into as many bytes as there must be: ten times faster than by way of a `Blob`. */
async function inflate(parts, length) {
  const { readable, writable } = new DecompressionStream('deflate');
  const [writer, reader] = [writable.getWriter(), readable.getReader()];
  const feed = async () => {
    for (const part of parts) await writer.write(part);
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
  return { header, data };
}

/** Undo the filter that stands before each row: each byte is a difference to its neighbours. */
function unfilter(rows, width, height) {
  const values = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const filter = rows[y * (width + 1)];
    for (let x = 0; x < width; x++) {
      const at = y * width + x;
      const left = x ? values[at - 1] : 0;
      const above = y ? values[at - width] : 0;
      const corner = x && y ? values[at - width - 1] : 0;
      values[at] = rows[y * (width + 1) + 1 + x] + predict(filter, left, above, corner);
    }
  }
  return values;
}

function predict(filter, left, above, corner) {
  switch (filter) {
    case 0:
      return 0;
    case 1:
      return left;
    case 2:
      return above;
    case 3:
      return (left + above) >> 1;
    case 4:
      return nearest(left, above, corner);
    default:
      throw new Error('The PNG file has rows of an unknown filter.');
  }
}

/** The neighbour that is nearest to `left + above - corner`. */
function nearest(left, above, corner) {
  const [byLeft, byAbove] = [Math.abs(above - corner), Math.abs(left - corner)];
  const byCorner = Math.abs(left + above - 2 * corner);
  if (byLeft <= byAbove && byLeft <= byCorner) return left;
  return byAbove <= byCorner ? above : corner;
}
