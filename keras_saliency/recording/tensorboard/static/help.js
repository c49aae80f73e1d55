/** How maps and verdicts are read: a dialog behind a question mark. */

import { element } from './dom.js';

export class Help {
  constructor() {
    const open = () => this.dialog.showModal();
    const close = { className: 'close', 'aria-label': 'Close', onclick: () => this.dialog.close() };
    this.button = element(
      'button',
      { className: 'help', title: 'How to read this', 'aria-label': 'Help', onclick: open },
      '?',
    );
    this.list = element('ul');
    this.words = element('dl', { className: 'words' });
    const title = element('h2', { id: 'help-title' }, 'How to read this');
    this.dialog = element(
      'dialog',
      {
        'aria-labelledby': 'help-title',
        onclick: (event) => event.target === this.dialog && this.dialog.close(),
      },
      element(
        'div',
        { className: 'large guide' },
        element('div', { className: 'bar' }, title, element('button', close, '✕')),
        this.list,
        element('h3', {}, 'Words'),
        this.words,
      ),
    );
  }

  fill({ how_to_read: sentences, terms }) {
    this.list.replaceChildren(...sentences.map((sentence) => element('li', {}, sentence)));
    const rows = Object.entries(terms).map(([word, meaning]) =>
      element('div', {}, element('dt', {}, word), element('dd', {}, meaning)),
    );
    this.words.replaceChildren(...rows);
  }
}
