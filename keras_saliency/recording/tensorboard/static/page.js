/** The page: its state, what is read for it, and when it is drawn. */

import { MapCache } from './client.js';
import { element, write } from './dom.js';
import { Grid } from './grid.js';
import { Header, VIEWS } from './header.js';
import { Help } from './help.js';
import { Large } from './large.js';
import { readLink } from './link.js';
import { Matrix } from './matrix.js';
import { indexAt } from './rows.js';
import { Scene } from './scene.js';
import { Scrubber } from './scrubber.js';
import { Sidebar } from './sidebar.js';
import { Source, placed, soundVerdict } from './source.js';
import { Verdict } from './verdict.js';

const START = {
  run: null,
  method: null,
  step: Infinity,
  probe: null,
  view: 'step',
  withRun: null,
  withMethod: null,
  since: null,
  show: 'overlay',
  opacity: 0.85,
  threshold: 0,
  colours: 'inferno',
  scale: 'map',
  outline: false,
  order: 'given',
  filter: '',
  playing: false,
};
const RELOAD_MS = 10_000;
const SETTLED_MS = 300; // after the last change of the step, rows are sorted anew
const LATE_MS = 250; // after which a step is shown although maps are missing
const PLAYED_MS = 125;
const CALM_MS = 600; // for those who asked for less motion
const PATIENCE = 8; // beats that playing waits for maps

const EMPTY = [
  'No saliency maps here yet. They appear while a model trains with',
  'model.fit(..., callbacks=[keras_saliency.SaliencyCallback(probes, log_dir="logs")])',
];

export class Page {
  runs = {};
  source = null;
  other = null;
  verdicts = [];
  otherVerdicts = [];
  guidance = { how_to_read: [], disagreement: '', terms: {}, lists: {} };
  #orderedBy = 0;
  #follows = true;
  #ticket = 0;
  #waited = 0;
  #shown = null;
  #shownAt = 0;

  /** What is drawn with the page besides its own parts: each has `draw(scene)`. */
  guests = [];

  constructor(root, client, hash) {
    this.root = root;
    this.client = client;
    this.hash = hash;
    this.maps = new MapCache(
      (address) => client.shades(address),
      () => this.redraw(),
    );
    this.state = { ...START };
    this.#take(readLink(hash.read()));
    this.help = new Help();
    this.header = new Header(this);
    this.verdict = new Verdict(this);
    this.scrubber = new Scrubber(this);
    this.sidebar = new Sidebar(this);
    this.views = { step: new Grid(this), time: new Matrix(this) };
    this.large = new Large(this);
    this.notice = element('p', { className: 'notice', role: 'status' });
    this.empty = element('p', { className: 'empty' }, EMPTY[0], element('code', {}, EMPTY[1]));
    const views = Object.values(this.views).map((view) => view.element);
    this.main = element('main', {}, this.verdict.element, ...views);
    const top = element('div', { className: 'top' }, this.header.element, this.scrubber.element);
    this.frame = element(
      'div',
      { className: 'frame', hidden: true },
      top,
      this.sidebar.element,
      this.main,
    );
    root.append(this.notice, this.empty, this.frame, this.large.element, this.help.dialog);
    this.empty.hidden = true;
  }

  /** Read the first data, and draw. */
  async start() {
    this.root.addEventListener('keydown', (event) => this.#press(event));
    this.hash.listen((found) => {
      this.#take({ probe: null, ...readLink(found) });
      this.#load();
    });
    await Promise.all([this.#guide(), this.#reload()]);
  }

  /** Read what words mean; without it, only explanations are missing. */
  async #guide() {
    try {
      this.guidance = await this.client.json('guidance');
    } catch {
      return;
    }
    this.help.fill(this.guidance);
    this.redraw();
  }

  /** Go on reading while someone looks. */
  follow() {
    setInterval(() => {
      const seen = document.visibilityState === 'visible' && document.body.clientWidth > 0;
      if (seen) this.#reload();
    }, RELOAD_MS);
  }

  /** Change what is looked at or how. */
  set(changes) {
    Object.assign(this.state, changes);
    const elsewhere = ['run', 'method', 'withRun', 'withMethod'].some((name) => name in changes);
    if (elsewhere) this.#load();
    else this.redraw();
  }

  /** Go to the step of an index; what is beyond the ends is the end. */
  goTo(index) {
    const { steps } = this.source;
    if (!steps.length) return;
    const last = steps.length - 1;
    const found = Math.min(Math.max(index, 0), last);
    this.#follows = found === last;
    this.set({ step: steps[found].step });
    this.#resolve();
  }

  goToStep(step) {
    this.goTo(indexAt(this.source.steps, step));
  }

  openProbe(probe) {
    this.set({ probe: this.source.probes.names[probe] });
  }

  togglePlay() {
    clearInterval(this.player);
    const playing = !this.state.playing;
    this.set({ playing });
    if (!playing) return;
    if (this.scene.current === this.source.steps.length - 1) this.goTo(0);
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
    this.player = setInterval(() => this.#beat(), calm ? CALM_MS : PLAYED_MS);
  }

  /** Draw everything before the browser shows its next picture, however often this is called. */
  redraw() {
    if (!this.source || this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = null;
      this.#draw();
    });
  }

  #take(link) {
    Object.assign(this.state, link);
    if (!VIEWS.some(([name]) => name === this.state.view)) this.state.view = START.view;
    this.#follows = !Number.isFinite(this.state.step);
  }

  #beat() {
    if (this.scene.wishes.length && this.#waited++ < PATIENCE) return;
    this.#waited = 0;
    this.goTo(this.scene.current + 1);
    if (this.#follows) this.togglePlay();
  }

  #resolve() {
    clearTimeout(this.settling);
    this.settling = setTimeout(() => {
      this.#orderedBy = this.scene.current;
      this.redraw();
    }, SETTLED_MS);
  }

  #draw() {
    const shown = this.#stepToShow();
    this.scene = new Scene({ ...this, shown, orderedBy: this.#orderedBy });
    const view = this.views[this.state.view];
    for (const one of Object.values(this.views)) one.element.hidden = one !== view;
    this.main.dataset.view = this.state.view;
    const parts = [this.header, this.scrubber, this.sidebar, this.verdict, view, this.large, ...this.guests];
    for (const part of parts) part.draw(this.scene);
    this.maps.wish(this.scene.addresses());
    if (shown !== this.state.step) this.redraw();
    clearTimeout(this.linking);
    this.linking = setTimeout(() => this.hash.write(this.state), SETTLED_MS);
  }

  /**
   * The slider's step, once all pictures of the step before are there, or took too long: who
   * scrubs faster than maps arrive sees whole steps, though not each of them.
   */
  #stepToShow() {
    const now = performance.now();
    const late = this.scene?.wishes.length && now - this.#shownAt < LATE_MS;
    if (!late && this.#shown !== this.state.step) {
      this.#shown = this.state.step;
      this.#shownAt = now;
    }
    return this.#shown;
  }

  /** Read which runs there are, and whatever is new in those that are looked at. */
  async #reload() {
    try {
      this.runs = (await this.client.json('runs')).runs;
      this.maps.forgive();
      const known = ({ run, method }) => this.runs[run]?.methods[method] ?? [];
      await Promise.all([this.source, this.other].map((one) => one?.refresh(known(one))));
      await this.#load();
    } catch (error) {
      write(
        this.notice,
        `TensorBoard doesn’t answer; what was read before is shown. (${error.message})`,
      );
    }
  }

  /** Read what the state names, where it isn't there yet. */
  async #load() {
    const ticket = ++this.#ticket;
    const notices = this.#settleRun();
    this.empty.hidden = this.state.run !== null;
    this.frame.hidden = this.state.run === null;
    if (this.state.run === null) return;
    const { run, method, withRun, withMethod } = this.state;
    try {
      const [source, other, verdicts, otherVerdicts] = await Promise.all([
        this.#opened(this.source, run, method),
        withRun === null ? null : this.#opened(this.other, withRun, withMethod),
        this.#verdictsOf(run),
        this.#verdictsOf(withRun),
      ]);
      if (ticket !== this.#ticket) return; // Something else was chosen meanwhile.
      Object.assign(this, { source, other, verdicts: placed(verdicts, source.steps) });
      this.otherVerdicts = placed(otherVerdicts, other?.steps ?? []);
    } catch (error) {
      notices.push(error.message);
    }
    if (this.source && !this.#hasProbe()) {
      notices.push(`There is no picture “${this.state.probe}” in this run.`);
      this.state.probe = null;
    }
    write(this.notice, notices.join(' '));
    if (!this.source) return;
    if (this.#follows) this.state.step = this.source.steps.at(-1)?.step ?? Infinity;
    if (!this.scene) this.#orderedBy = this.source.steps.length - 1;
    this.redraw();
  }

  #hasProbe() {
    return this.state.probe === null || this.source.probes.names.includes(this.state.probe);
  }

  async #opened(present, run, method) {
    const same = present?.run === run && present?.method === method;
    return same ? present : new Source(this.client, run, method).open();
  }

  async #verdictsOf(run) {
    if (!this.runs[run]?.verdict.length) return [];
    return (await this.client.json('verdicts', { run })).steps.map(soundVerdict);
  }

  /** Choose what isn't chosen, or isn't there; says what was asked for in vain. */
  #settleRun() {
    const { state } = this;
    const asked = state.run;
    const names = Object.keys(this.runs).filter(
      (run) => Object.keys(this.runs[run].methods).length,
    );
    const natural = names.sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
    if (!names.includes(asked)) state.run = natural.at(-1) ?? null;
    const methods = Object.keys(this.runs[state.run]?.methods ?? {});
    if (!methods.includes(state.method)) state.method = methods[0] ?? null;
    const beside = own(own(this.runs, state.withRun)?.methods, state.withMethod);
    if (!beside) state.withRun = state.withMethod = null;
    const missing = asked !== null && asked !== state.run;
    return missing ? [`There is no run “${asked}” here.`] : [];
  }

  #press(event) {
    const { target } = event;
    const own = target.matches('select, input, textarea');
    if (own || event.ctrlKey || event.metaKey || event.altKey || !this.scene) return;
    const { current, source } = this.scene;
    const to = {
      ArrowLeft: current - 1,
      ArrowRight: current + 1,
      Home: 0,
      End: source.steps.length - 1,
    };
    if (event.key in to) this.goTo(to[event.key]);
    else if (event.key === ' ' && !target.matches('button, summary')) this.togglePlay();
    else return;
    event.preventDefault();
  }
}

/** A property that an object has itself; a link may name one that every object has. */
const own = (object, name) => (object && Object.hasOwn(object, name) ? object[name] : undefined);
