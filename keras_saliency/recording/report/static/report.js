/** Brings the page to life: the charts, and the pictures at every step. */

import { Page } from '../../tensorboard/static/page.js';
import { CHANCE, Plot } from '../../tensorboard/static/plot.js';
import { hundredths, number } from '../../tensorboard/static/words.js';
import { FileClient } from './file_client.js';

/** Charts in a place of the page, which follow the slider of the pictures. */
class Charts {
  constructor(place, charts, page) {
    this.charts = charts;
    const choose = (own) => (step) => page.source && !own && page.goToStep(step);
    this.plots = charts.map(({ title, own }) => new Plot(title, choose(own)));
    place.append(...this.plots.map((plot) => plot.element));
    this.draw({});
  }

  draw({ step }) {
    this.plots.forEach((plot, i) => {
      const { lines, whens, held, threshold, chance, own } = this.charts[i];
      const steps = lines.flatMap(({ points }) => points.map(([at]) => at));
      const landmark = chance ? CHANCE : threshold === null ? null : [threshold, 'threshold'];
      const whenOf = (at) => whens[at] ?? `step ${at}`;
      const say = held.length ? hundredths : number;
      const at = nearest(steps, own ? Infinity : (step?.step ?? Infinity));
      plot.draw(lines, at, { held, landmark, last: true, whenOf, say });
    });
  }
}

/** The last of the steps up to one, or the first. */
function nearest(steps, step) {
  const before = steps.filter((one) => one <= step);
  return before.length ? Math.max(...before) : Math.min(...steps);
}

async function start() {
  const data = JSON.parse(document.getElementById('data').textContent);
  const root = document.getElementById('look');
  const link = { read: () => data.link, write: () => {}, listen: () => {} };
  const page = new Page(root, new FileClient(data), link);
  for (const [place, charts] of Object.entries(data.charts)) {
    page.guests.push(new Charts(document.getElementById(place), charts, page));
  }
  await page.start();
  document.body.classList.toggle('alive', Boolean(page.source));
}

start();
