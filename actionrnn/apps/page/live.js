// Scores as they come: what is seen now, bars of the best labels, and the curves of the last minute.

import { showBars } from "./common.js";
import { byId, colourOf, drawCurves, maxCurves, percent, showLegend } from "./timeline.js";

const windowSeconds = 60, leastSeconds = 10;

// The labels of scores, best first, and those that are said: of a model that may say several labels
// all that are on, else the best alone.
export function ranked(scores, isMultiLabel) {
  const order = scores.map((_, index) => index).sort((a, b) => scores[b] - scores[a]);
  return [order, order.filter((index, place) => isMultiLabel ? scores[index] >= 0.5 : place === 0)];
}

// Fills the elements NAME-label, NAME-best, NAME-curves and NAME-legend.
export class LiveView {
  constructor(name) {
    for (const part of ["label", "best", "curves", "legend"]) this[part] = byId(`${name}-${part}`);
    this.steps = [];
    new ResizeObserver(() => this.draw()).observe(this.curves);
  }

  // model: `labels`, `multi_label`, `delay_steps`, and perhaps the labels' own `colours`.
  begin(model) {
    this.model = model;
    this.steps = [];
    this.shown = []; // the labels with a curve, each with its colour for as long as this goes on
    this.label.textContent = "\u00a0";
    this.best.replaceChildren();
    this.legend.replaceChildren();
  }

  // steps: `pts_seconds`, `scores` and perhaps `none_of_these`; the newest frame is of newestSeconds.
  add(steps, newestSeconds) {
    const { labels, multi_label, delay_steps } = this.model;
    this.steps.push(...steps);
    const now = this.steps.at(-1);
    while (this.steps[0].pts_seconds < now.pts_seconds - windowSeconds) this.steps.shift();
    const [order, said] = ranked(now.scores, multi_label);
    for (const index of order.slice(0, Math.max(3, said.length))) if (!this.shown.includes(index) && this.shown.length < maxCurves) this.shown.push(index);
    showLegend(this.legend, this.shown.map((index) => labels[index]), this.#colours);
    const age = delay_steps ? `, ${(newestSeconds - now.pts_seconds).toFixed(1)} s ago` : "";
    const named = said.map((index) => `${labels[index]} ${percent(now.scores[index])}`).join(", ");
    this.label.textContent = (now.none_of_these ? "none of these?   " : "") + (named || "none") + age;
    showBars(this.best, order.slice(0, Math.max(5, said.length)).map((index) => [labels[index], now.scores[index], this.#colourOf(index)]));
    this.draw();
  }

  #colourOf(index) { return this.model.colours?.[index] ?? colourOf(this.shown.indexOf(index)); }

  get #colours() { return this.shown.map((index) => this.#colourOf(index)); }

  draw() {
    if (!this.steps.length || !this.curves.clientWidth) return;
    const last = Math.max(this.steps.at(-1).pts_seconds, leastSeconds), first = Math.max(0, last - windowSeconds);
    const curves = this.shown.map((index) => this.steps.map((step) => step.scores[index]));
    drawCurves(this.curves, { times: this.steps.map((step) => step.pts_seconds), curves, colours: this.#colours }, first, last);
  }
}
