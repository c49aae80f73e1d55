/** Where the lines, bands and ticks of a small chart go. */

export const MARGIN = { top: 8, right: 12, bottom: 22, left: 40 };

/**
 * Lay out lines `{points: [[x, y, error]]}`; `y` may be null, where the line breaks, and `error`
 * undefined. Values that are `held` are in sight whatever the lines are. Gives `x(step)`, `y(value)`, `step(x)`, the `ticks` of y, and of each line its `line`
 * and `band` as paths, and its `dots`: points without neighbours, which no line would show.
 */
export function layChart(lines, { width, height, held = [] }) {
  const all = lines.flatMap(({ points }) => points);
  const known = all.filter(([, y]) => y !== null);
  const xs = all.map(([x]) => x);
  const ys = [...known.flatMap(([, y, error = 0]) => [y - error, y + error]), ...held];
  const ticks = niceTicks(
    least(ys, 0),
    -least(
      ys.map((y) => -y),
      -1,
    ),
  );
  const x = scale(
    [
      least(xs, 0),
      -least(
        xs.map((v) => -v),
        0,
      ),
    ],
    [MARGIN.left, width - MARGIN.right],
  );
  const y = scale([ticks[0], ticks.at(-1)], [height - MARGIN.bottom, MARGIN.top]);
  const steps = [...new Set(xs)].sort((a, b) => a - b);
  const nearest = (place) =>
    steps.reduce((best, step) =>
      Math.abs(x(step) - place) < Math.abs(x(best) - place) ? step : best,
    );
  return { x, y, step: nearest, ticks, lines: lines.map((line) => trace(line.points, x, y)) };
}

function trace(points, x, y) {
  const pieces = unbroken(points);
  const at = ([step, value]) => `${round(x(step))} ${round(y(value))}`;
  const edge = (sign) => (point) => at([point[0], point[1] + sign * (point[2] ?? 0)]);
  const long = pieces.filter((piece) => piece.length > 1);
  return {
    line: long.map((piece) => `M${piece.map(at).join('L')}`).join(''),
    band: long
      .filter((piece) => piece.some((point) => point[2]))
      .map((piece) => [...piece.map(edge(1)), ...piece.map(edge(-1)).reverse()])
      .map((corners) => `M${corners.join('L')}Z`)
      .join(''),
    dots: pieces
      .filter((piece) => piece.length === 1)
      .map(([[step, value]]) => [round(x(step)), round(y(value))]),
  };
}

function unbroken(points) {
  const pieces = [[]];
  for (const point of points) {
    if (point[1] === null) pieces.push([]);
    else pieces.at(-1).push(point);
  }
  return pieces.filter((piece) => piece.length);
}

function scale([low, high], [start, end]) {
  const span = high - low;
  return (value) => (span ? start + ((value - low) / span) * (end - start) : (start + end) / 2);
}

/** Of each `{name, steps}` the line of the mean focus of those probes that have one. */
export function focusLines(sources) {
  return sources.map(({ name, steps }) => ({
    name,
    points: steps.map(({ step, focus }) => [step, mean((focus ?? []).filter(Number.isFinite))]),
  }));
}

const mean = (values) =>
  values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;

const BEYOND = 0.1; // of the gap between ticks: so far lines may run past the outermost ones

/** Two to six round numbers, evenly spaced, that hold `low` and `high` nearly between them. */
export function niceTicks(low, high) {
  const span = high - low || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(span / 3));
  const gap = [1, 2, 5, 10].map((one) => one * power).find((one) => span / one <= 4);
  const [first, last] = [Math.floor(low / gap + BEYOND), Math.ceil(high / gap - BEYOND)];
  const end = Math.max(last, first + 1);
  return Array.from({ length: end - first + 1 }, (_, i) =>
    Number(((first + i) * gap).toPrecision(12)),
  );
}

const least = (values, otherwise) =>
  values.reduce((a, b) => Math.min(a, b), values[0] ?? otherwise);
const round = (number) => Math.round(number * 10) / 10;
