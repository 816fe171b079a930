// The timeline: time, thumbnails, what was looked at, one lane a label, and the whole video below.
// It shows what it is given and tells what a pointer does; it changes nothing by itself.

import { make } from "./dom.js";
import { Painter, gap, laneHeight, lookedHeight, overviewHeight, rulerHeight, thumbnailHeight } from "./track_painter.js";
import { Pointers } from "./track_pointers.js";

const minFrames = 8, keptTimings = 240;

export class Tracks {
  #wanted = new Set();

  // listen: seek(seconds), select(mark or proposal, or null), range(label, start, end),
  // edge(mark, {start, end}, isDone), and limits(mark) -> [earliest begin, latest end].
  constructor(home, listen) {
    this.listen = listen;
    this.home = home;
    this.base = make("canvas", { className: "tracks-base", "aria-hidden": "true" });
    this.top = make("canvas", { className: "tracks-top", tabIndex: 0, role: "slider", "aria-label": "Position in the video", ariaValueNow: "0" });
    home.append(this.base, this.top);
    this.scene = { labels: [], marks: [], proposals: [], looked: [], selection: null, begun: null, selected: null, watched: null };
    Object.assign(this, { times: [0], start: 0, end: 1, first: 0, last: 1, position: 0, sprite: null, curves: null, lanes: [], outerWidth: 0 });
    this.timings = []; // milliseconds of the last redraws
    this.top.timings = this.timings;
    this.drawnRange = null; // a selection while it is being drawn
    this.painter = new Painter(this);
    new Pointers(this);
    this.observer = new ResizeObserver(([{ contentRect }]) => { // whose width needs no layout while one draws
      this.outerWidth = Math.round(contentRect.width);
      this.redraw();
    });
    this.observer.observe(home);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.scheme.addEventListener("change", this.#recolour);
    this.redraw();
  }

  close() {
    this.observer.disconnect();
    this.scheme.removeEventListener("change", this.#recolour);
  }

  // Another video: its frames' times, and where it ends.
  setVideo(times, end) {
    Object.assign(this, { times, start: times[0], end, first: times[0], last: end, position: times[0], sprite: null, curves: null });
    this.redraw();
  }

  // {image, tile_width, tile_height, columns, times}
  setSprite(sprite) { this.sprite = sprite; this.redraw(); }

  // {times, scores: a list for each label, labels} of the model, or null.
  setCurves(curves) { this.curves = curves; this.redraw(); }

  // scene: labels [{name, key, colour}], marks and proposals in order of time, looked stretches,
  // selection {start, end, label?}, begun {label, start}, selected id, watched [start, end].
  show(scene) {
    this.scene = { ...this.scene, ...scene };
    this.lanes = this.scene.labels.map((label) => ({
      ...label,
      marks: this.scene.marks.filter((mark) => mark.label === label.name),
      proposals: this.scene.proposals.filter((proposal) => proposal.label === label.name),
    }));
    this.#layOut();
  }

  moveTo(position) {
    this.position = position;
    if (position < this.first || position > this.last) this.#see(position);
    this.redrawTop();
  }

  // factor > 1 shows less, around a moment that keeps its place.
  zoom(factor, around = this.position) {
    const [first, last] = [this.first, this.last], least = Math.min(this.end - this.start, minFrames * (this.end - this.start) / this.times.length);
    const span = Math.min(Math.max((last - first) / factor, least), this.end - this.start);
    const part = Math.min(Math.max((around - first) / (last - first), 0), 1);
    this.setView(around - part * span, span);
  }

  pan(seconds) { this.setView(this.first + seconds, this.last - this.first); }

  // Shows a stretch as a whole, with a little room.
  reveal(start, end) {
    const span = this.last - this.first;
    if (start >= this.first && end <= this.last) return;
    if (end - start > span) this.setView(start - 0.1 * (end - start), 1.2 * (end - start)); else this.setView(start - (span - (end - start)) / 2, span);
  }

  redraw() { this.#want("base"); }
  redrawTop() { this.#want("top"); }

  setView(first, span) {
    this.first = Math.min(Math.max(first, this.start), this.end - span);
    this.last = this.first + span;
    this.redraw();
  }

  // Turns the page so that a position near its begin is seen.
  #see(position) {
    const span = this.last - this.first;
    this.setView(position - 0.1 * span, span);
  }

  #recolour = () => {
    this.painter.recolour();
    this.redraw();
  };

  #layOut() {
    const lanesTop = rulerHeight + thumbnailHeight + gap + lookedHeight + gap;
    const height = lanesTop + laneHeight * Math.max(1, this.lanes.length) + gap + overviewHeight;
    Object.assign(this, { lanesTop, height });
    this.home.style.height = height + "px";
    this.redraw();
  }

  #want(canvas) {
    if (!this.#wanted.size) requestAnimationFrame(() => this.#draw());
    this.#wanted.add(canvas);
  }

  #draw() {
    const began = performance.now();
    if (this.outerWidth) {
      this.gutter = this.outerWidth < 600 ? 74 : 120;
      this.width = this.outerWidth - this.gutter;
      if (this.#wanted.has("base")) this.painter.drawBase();
      this.painter.drawTop();
    }
    this.#wanted.clear();
    this.timings.push(performance.now() - began);
    if (this.timings.length > keptTimings) this.timings.shift();
  }

  x = (seconds) => this.gutter + (seconds - this.first) / (this.last - this.first) * this.width;
  seconds = (x) => this.first + (x - this.gutter) / this.width * (this.last - this.first);
  overviewX = (seconds) => this.gutter + (seconds - this.start) / (this.end - this.start) * this.width;
  get overviewTop() { return this.height - overviewHeight; }
}
