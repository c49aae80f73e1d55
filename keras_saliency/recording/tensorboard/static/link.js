/** What is looked at, as a part of TensorBoard’s address: `#keras_saliency&p.keras_saliency.run=…`. */

const TAB = 'keras_saliency';
const PREFIX = `p.${TAB}.`;
const TEXTS = ['run', 'method', 'probe', 'view', 'withRun', 'withMethod'];
const NUMBERS = ['step', 'since'];

/** Read what an address says; what it doesn't say is not among the answer's names. */
export function readLink(hash) {
  const link = {};
  for (const part of hash.replace(/^#/, '').split('&')) {
    const [name, value] = split(part);
    if (!name.startsWith(PREFIX) || value === undefined) continue;
    const short = name.slice(PREFIX.length);
    if (TEXTS.includes(short)) link[short] = value;
    if (NUMBERS.includes(short) && /^-?\d+$/.test(value)) link[short] = Number(value);
  }
  return link;
}

/** Write it into an address; null where another tab is open, whose address is not ours. */
export function writeLink(hash, state) {
  const parts = hash.replace(/^#/, '').split('&');
  if (parts[0] && parts[0] !== TAB) return null;
  const others = parts.slice(1).filter((part) => !split(part)[0].startsWith(PREFIX));
  const own = [...TEXTS, ...NUMBERS]
    .filter((name) => (state[name] ?? null) !== null)
    .map((name) => `${PREFIX}${name}=${encodeURIComponent(state[name])}`);
  return `#${[TAB, ...others, ...own].join('&')}`;
}

function split(part) {
  const [name, value] = part.split('=', 2);
  return [decode(name), value === undefined ? undefined : decode(value)];
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // A person typed a percent sign.
  }
}
