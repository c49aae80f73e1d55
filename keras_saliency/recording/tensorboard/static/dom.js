/** Elements from data. Whatever is a text becomes a text, never HTML. */

const SVG = 'http://www.w3.org/2000/svg';

/** Make an element; `on…` are listeners, what the element knows as a property is set as one. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Make an element of an SVG. */
export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Set a text only where it differs, so that nothing is announced or laid out in vain. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Explain an element to who points at it; nothing is done where there is no explanation. */
export function explain(node, text) {
  node.classList.toggle('term', Boolean(text));
  if (node.title !== (text ?? '')) node.title = text ?? '';
}

/** A select box with a label; `groups` are `[heading or null, [[value, words], ...]]`. */
export class Choice {
  #shown = '';

  constructor(label, choose) {
    this.box = element('select', { onchange: () => choose(this.box.value) });
    this.label = element('span', {}, label);
    this.element = element('label', { className: 'field' }, this.label, this.box);
  }

  draw(groups, chosen) {
    const shown = JSON.stringify(groups);
    if (shown !== this.#shown) {
      this.#shown = shown;
      this.box.replaceChildren(...groups.flatMap(([heading, options]) => listed(heading, options)));
    }
    if (this.box.value !== chosen) this.box.value = chosen;
  }
}

function listed(heading, options) {
  const made = options.map(([value, words]) => element('option', { value }, words));
  return heading === null ? made : [element('optgroup', { label: heading }, ...made)];
}

let groups = 0;

/** A few choices side by side, one of which holds: `options` are `[[value, words], ...]`. */
export class Switch {
  constructor(label, options, choose) {
    const name = `switch-${groups++}`;
    this.radios = options.map(([value]) =>
      element('input', { type: 'radio', name, value, onchange: () => choose(value) }),
    );
    const labels = options.map(([, words], i) =>
      element('label', {}, this.radios[i], element('span', {}, words)),
    );
    const row = element('div', { className: 'switch', role: 'radiogroup', 'aria-label': label });
    row.append(...labels);
    this.element = row;
  }

  draw(chosen) {
    for (const radio of this.radios) radio.checked = radio.value === chosen;
  }
}
