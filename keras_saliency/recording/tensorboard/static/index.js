/** What TensorBoard imports and starts. */

import { Client } from './client.js';
import { writeLink } from './link.js';
import { Page } from './page.js';

// What those import: named here as well, the browser asks for all at once and not chain by chain.
import './charts.js';
import './colours.js';
import './dom.js';
import './grid.js';
import './header.js';
import './help.js';
import './large.js';
import './maps.js';
import './matrix.js';
import './picture.js';
import './plot.js';
import './png.js';
import './rows.js';
import './scene.js';
import './scrubber.js';
import './sidebar.js';
import './source.js';
import './verdict.js';
import './words.js';

/** Build the page; TensorBoard calls this once, in a frame of its own. */
export async function render() {
  const base = new URL('.', import.meta.url);
  document.documentElement.lang = 'en';
  const styled = addStyle(new URL('style.css', base));
  followDarkMode();
  await styled;
  const page = new Page(document.body, new Client(base), parentHash());
  await page.start();
  page.follow();
}

function addStyle(address) {
  const link = document.createElement('link');
  Object.assign(link, { rel: 'stylesheet', href: address.href });
  document.head.append(link);
  return new Promise((done) => {
    link.onload = link.onerror = done;
  });
}

/** TensorBoard's own page around ours; null where it is of another origin, as in some notebooks. */
function outside() {
  try {
    return parent.document ? parent : null;
  } catch {
    return null;
  }
}

function followDarkMode() {
  const page = outside();
  if (!page) return;
  const { body } = page.document;
  const follow = () => document.body.classList.toggle('dark', body.classList.contains('dark-mode'));
  new MutationObserver(follow).observe(body, { attributes: true, attributeFilter: ['class'] });
  follow();
}

/** TensorBoard's address; where it can't be reached, nothing is read or written. */
function parentHash() {
  const page = outside();
  return {
    read: () => page?.location.hash ?? '',
    write: (state) => {
      const hash = page && writeLink(page.location.hash, state);
      if (hash && hash !== page.location.hash)
        page.history.replaceState(page.history.state, '', hash);
    },
    listen: (heard) => page?.addEventListener('hashchange', () => heard(page.location.hash)),
  };
}
