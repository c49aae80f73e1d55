/** Numbers and captions in words. */

/** A number in three digits; a dash where it is not known. */
export function number(value) {
  if (value === null || value === undefined) return '–';
  const size = Math.abs(value);
  const short = value !== 0 && (size >= 10000 || size < 0.001);
  const text = short ? value.toExponential(1) : String(Number(value.toPrecision(3)));
  return text.replaceAll('-', '−');
}

/** A number in two decimals, which is all that is known of a mean over a few pictures. */
export function hundredths(value) {
  if (value === null || value === undefined) return '–';
  const text = value.toFixed(2).replace('-', '−');
  return text === '−0.00' ? '0.00' : text;
}

/** A share in per cent, never "100 %" of what is less. */
export function percent(share) {
  if (share === null || share === undefined) return '–';
  const rounded = Math.round(100 * share);
  if (rounded === 100 && share < 1) return '> 99 %';
  if (rounded === 0 && share > 0) return '< 1 %';
  return `${rounded} %`;
}

/** What the model predicts for a probe: "predicted penguin, 93 %". */
export function saying(step, probe) {
  const confidence = step.confidence?.[probe] ?? null;
  const sure = confidence === null ? '' : `, ${percent(confidence)}`;
  return `predicted ${step.predicted?.[probe] ?? 'nothing'}${sure}`;
}

/** How much of the attribution lies on the object: "2.1 × chance on the object". */
export function focusing(step, probe) {
  const focus = step.focus?.[probe] ?? null;
  return focus === null ? null : `focus ${number(focus)} × chance`;
}

/** Whether a map was found to mark nothing that the model needs more than chance. */
export function isChance(step, probe) {
  return step?.is_chance?.[probe] === true;
}

/** What hiding the strongest tenth of a map costs, in words; nothing where that was not checked. */
export function checking(step, probe) {
  return step?.check?.[probe] || null;
}

/** What a word means; nothing where that is not known. */
export function meaningOf(terms, word) {
  return Object.hasOwn(terms, word) ? terms[word] : '';
}

/** A picture for those who don't see it. */
export function describe(name, method, step, probe, fault) {
  if (!step) return `${name}: no map at this step`;
  const found = [focusing(step, probe), checking(step, probe)].filter(Boolean).join('; ');
  const summary = fault ?? (found || 'map drawn');
  return `${name}, ${method} at ${step.when}: ${saying(step, probe)}; ${summary}`;
}
