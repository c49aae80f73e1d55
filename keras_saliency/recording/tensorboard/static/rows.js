/** Which probes are shown in which order, and which of them are in sight. */

/** The orders to choose from, and what a probe is ordered by: smallest first, the unknown last. */
export const ORDERS = {
  given: { words: 'as given', of: () => null },
  name: { words: 'name', of: (step, probe, names) => names[probe] },
  focus: { words: 'focus, lowest first', of: (step, probe) => step?.focus?.[probe] },
  change: { words: 'change, largest first', of: (step, probe) => step?.similarity?.[probe] },
  score: { words: 'score, lowest first', of: (step, probe) => step?.score?.[probe] },
};

/**
 * Group the probes by class: `[{label, probes}]` with indices of probes, in the order of the
 * classes, those of no class last. Groups in which nothing passes the filter are left out.
 */
export function groupRows({ names, labels, classes }, step, { order, filter }) {
  const wanted = filter.trim().toLowerCase();
  const probes = names
    .map((_, probe) => probe)
    .filter((probe) => names[probe].toLowerCase().includes(wanted));
  const value = (probe) => ORDERS[order].of(step, probe, names) ?? null;
  probes.sort((a, b) => compare(value(a), value(b)) || a - b);
  const known = [...(classes ?? []), ...labels.filter((label) => label !== null), null];
  return [...new Set(known)]
    .map((label) => ({ label, probes: probes.filter((probe) => labels[probe] === label) }))
    .filter(({ probes: members }) => members.length);
}

function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  return typeof a === 'string' ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
}

/** The `{width, height}` of a matrix's cell for pictures of a shape, with room around them. */
export function cellSize([height, width], { longest, room, narrowest }) {
  const scale = longest / Math.max(height, width);
  const side = (length) => Math.round(Math.max(length * scale + room, narrowest));
  return { width: side(width), height: side(height) };
}

/** Lay out groups below each other: items `{top, height, label}` or `{top, height, probe}`. */
export function layRows(groups, { heading, row }) {
  const items = [];
  let top = 0;
  const add = (item, height) => {
    items.push({ ...item, top, height });
    top += height;
  };
  for (const { label, probes } of groups) {
    if (groups.length > 1) add({ label }, heading);
    for (const probe of probes) add({ probe }, row);
  }
  return { items, height: top };
}

/** The first and the end (exclusive) of equal cells that a window shows, and one on each side. */
export function inSight(offset, extent, size, count) {
  const first = Math.max(0, Math.floor(offset / size) - 1);
  return [Math.min(first, count), Math.min(count, Math.ceil((offset + extent) / size) + 1)];
}

/** The index of the last step at or before a step, -1 where there is none. */
export function indexAt(steps, step) {
  let index = -1;
  while (index + 1 < steps.length && steps[index + 1].step <= step) index++;
  return index;
}

/** Indices of steps around one, the nearest first: what will probably be asked for next. */
export function around(index, count, reach) {
  const indices = [];
  for (let distance = 1; distance <= reach; distance++) {
    if (index + distance < count) indices.push(index + distance);
    if (index - distance >= 0) indices.push(index - distance);
  }
  return indices;
}
