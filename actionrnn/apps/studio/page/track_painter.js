// Draws the timeline onto its two canvases: what changes seldom, and above it the position and what
// is being dragged.

import { clock } from "./shared/timeline.js";
import { make } from "./dom.js";

export const rulerHeight = 20, thumbnailHeight = 44, lookedHeight = 12, laneHeight = 26, overviewHeight = 22, gap = 4;
const minTickPixels = 76;
const tickSeconds = [0.04, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400];

const rulerText = (seconds, tick) => (tick < 0.1 ? `${clock(Math.floor(seconds * 10 + 1e-6) / 10)}${Math.round(seconds * 100) % 10}` : clock(seconds).replace(/\.0$/, ""));

// The first index of a sorted list whose value is not below.
export function firstFrom(list, value, of) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (of(list[middle]) < value) low = middle + 1; else high = middle;
  }
  return low;
}

// Black or white, whichever is easier to read on a colour "#rrggbb".
function inkOn(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255).map((value) => (value <= 0.04 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#10151c" : "#ffffff";
}

export class Painter {
  #hatches = new Map();

  // view: the timeline, whose geometry and scene are drawn.
  constructor(view) {
    this.view = view;
    this.recolour();
  }

  recolour() {
    const style = getComputedStyle(document.documentElement);
    this.colours = Object.fromEntries(["ink", "dim", "back", "line", "soft", "main"].map((name) => [name, style.getPropertyValue("--" + name).trim()]));
    this.#hatches.clear();
  }

  // The context in CSS pixels, cleared.
  #contextOf(canvas) {
    const { view } = this;
    const ratio = window.devicePixelRatio || 1, width = Math.round((view.width + view.gutter) * ratio), height = Math.round(view.height * ratio);
    const context = canvas.getContext("2d");
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, view.width + view.gutter, view.height);
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "middle";
    return context;
  }

  drawBase() {
    const { view } = this;
    const context = this.#contextOf(view.base);
    context.save();
    context.beginPath();
    context.rect(view.gutter, 0, view.width, view.height);
    context.clip();
    this.#drawRuler(context);
    if (view.sprite) this.#drawThumbnails(context);
    this.#drawLooked(context, view.lanesTop - lookedHeight - gap, lookedHeight, view.x);
    view.lanes.forEach((lane, index) => this.#drawLane(context, lane, view.lanesTop + index * laneHeight));
    this.#drawOverview(context);
    context.restore();
    this.#drawNames(context);
  }

  #drawRuler(context) {
    const { view } = this;
    const span = view.last - view.first, tick = tickSeconds.find((seconds) => seconds / span * view.width >= minTickPixels) ?? 86400;
    context.fillStyle = this.colours.line;
    for (let count = Math.ceil(view.first / tick); count * tick <= view.last; count++) context.fillRect(Math.round(view.x(count * tick)), 0, 1, view.overviewTop - gap);
    context.fillStyle = this.colours.dim;
    for (let count = Math.floor(view.first / tick); count * tick <= view.last; count++) context.fillText(rulerText(count * tick, tick), view.x(count * tick) + 4, rulerHeight / 2);
  }

  #drawThumbnails(context) {
    const { view } = this;
    const { image, tile_width, tile_height, columns, times } = view.sprite;
    const width = tile_width / tile_height * thumbnailHeight, span = (view.last - view.first) / view.width * width;
    // at fixed moments, so that they move with the timeline
    for (let slot = Math.floor(view.first / span); slot * span < view.last; slot++) {
      const middle = Math.min(Math.max((slot + 0.5) * span, view.start), view.end);
      const tile = Math.max(0, firstFrom(times, middle + 1e-6, (time) => time) - 1);
      context.drawImage(image, tile % columns * tile_width, Math.floor(tile / columns) * tile_height, tile_width, tile_height, view.x(slot * span), rulerHeight, width, thumbnailHeight);
    }
    context.fillStyle = this.colours.back; // nothing before the begin or after the end
    context.fillRect(view.x(view.end), rulerHeight, view.width, thumbnailHeight);
    context.fillRect(view.gutter, rulerHeight, Math.max(0, view.x(view.start) - view.gutter), thumbnailHeight);
  }

  #drawLooked(context, top, height, x) {
    const { view } = this;
    context.fillStyle = this.colours.soft;
    context.fillRect(x(view.start), top, x(view.end) - x(view.start), height);
    context.fillStyle = this.colours.dim;
    for (const [start, end] of view.scene.looked) context.fillRect(x(start), top + height / 4, Math.max(1, x(end) - x(start)), height / 2);
  }

  #drawLane(context, lane, top) {
    const { view } = this;
    const height = laneHeight - 3;
    context.fillStyle = this.colours.soft;
    context.fillRect(view.gutter, top, view.width, height);
    this.#drawCurve(context, lane, top, height);
    this.#eachBox(lane.proposals, view.x, (proposal, left, wide) => this.#drawProposal(context, lane, proposal, left, wide, top, height));
    this.#eachBox(lane.marks, view.x, (mark, left, wide) => {
      context.fillStyle = lane.colour;
      context.fillRect(left, top, wide, height);
      if (wide > 6) { // neighbours stay apart
        context.fillStyle = this.colours.back;
        context.fillRect(left + wide - 1, top, 1, height);
      }
      const seen = Math.max(left, view.gutter), room = left + wide - seen - 8;
      if (room > 32) this.#text(context, mark.note || lane.name, seen + 5, top + height / 2, room, inkOn(lane.colour));
      if (mark.id === view.scene.selected) this.#outline(context, left, wide, top, height);
    });
  }

  #outline(context, left, wide, top, height) {
    context.strokeStyle = this.colours.ink;
    context.lineWidth = 2;
    context.strokeRect(left + 1, top + 1, Math.max(1, wide - 2), height - 2);
  }

  #drawProposal(context, lane, proposal, left, wide, top, height) {
    context.fillStyle = this.#hatch(context, lane.colour);
    context.fillRect(left, top + 2, wide, height - 4);
    context.strokeStyle = lane.colour;
    context.lineWidth = 1;
    context.setLineDash([4, 3]);
    context.strokeRect(left + 0.5, top + 2.5, Math.max(1, wide - 1), height - 5);
    context.setLineDash([]);
    if (proposal.id === this.view.scene.selected) this.#outline(context, left, wide, top, height);
  }

  #hatch(context, colour) {
    if (!this.#hatches.has(colour)) {
      const tile = make("canvas", { width: 6, height: 6 }), pen = tile.getContext("2d");
      pen.strokeStyle = colour;
      pen.lineWidth = 1.6;
      for (const shift of [-6, 0, 6]) { pen.beginPath(); pen.moveTo(shift, 6); pen.lineTo(shift + 6, 0); pen.stroke(); }
      this.#hatches.set(colour, context.createPattern(tile, "repeat"));
    }
    return this.#hatches.get(colour);
  }

  // The model's scores, as high as the lane; of several steps on one pixel the highest.
  #drawCurve(context, lane, top, height) {
    const { view } = this;
    const scores = view.curves?.scores[view.curves.labels.indexOf(lane.name)];
    if (!scores) return;
    const { times } = view.curves, bottom = top + height;
    let step = Math.max(0, firstFrom(times, view.first, (time) => time) - 1), left = view.x(times[step]);
    context.fillStyle = lane.colour;
    context.globalAlpha = 0.3;
    context.beginPath();
    context.moveTo(left, bottom);
    while (step < times.length && left <= view.gutter + view.width) {
      let best = scores[step], next = step + 1;
      while (next < times.length && view.x(times[next]) < left + 1) best = Math.max(best, scores[next++]);
      context.lineTo(left, bottom - best * height);
      left = next < times.length ? view.x(times[next]) : view.x(Math.min(view.end, 2 * times.at(-1) - (times.at(-2) ?? view.start)));
      context.lineTo(left, bottom - best * height);
      step = next;
    }
    context.lineTo(left, bottom);
    context.fill();
    context.globalAlpha = 1;
  }

  // Calls draw(item, left, width) for what is in view; what ends on a pixel that is drawn is left out.
  #eachBox(items, x, draw) {
    const { view } = this;
    const edge = view.gutter + view.width;
    let drawn = -Infinity;
    for (const item of items) {
      const left = x(item.start), right = Math.max(left + 1, x(item.end));
      if (left > edge) return;
      if (right < view.gutter || (right <= drawn && item.id !== view.scene.selected)) continue;
      drawn = Math.ceil(right);
      draw(item, left, right - left);
    }
  }

  #drawOverview(context) {
    const { view } = this;
    const top = view.overviewTop, height = overviewHeight, lane = Math.max(1, (height - 8) / Math.max(1, view.lanes.length));
    context.fillStyle = this.colours.soft;
    context.fillRect(view.gutter, top, view.width, height);
    const { first, last } = view;
    view.lanes.forEach(({ colour, marks, proposals }, index) => {
      context.fillStyle = colour;
      this.#eachBox(marks, view.overviewX, (_, left, wide) => context.fillRect(left, top + 1 + index * lane, wide, lane));
      context.globalAlpha = 0.45;
      this.#eachBox(proposals, view.overviewX, (_, left, wide) => context.fillRect(left, top + 1 + index * lane, wide, lane));
      context.globalAlpha = 1;
    });
    context.fillStyle = this.colours.dim;
    for (const [start, end] of view.scene.looked) context.fillRect(view.overviewX(start), top + height - 5, Math.max(1, view.overviewX(end) - view.overviewX(start)), 3);
    const left = view.overviewX(first), right = view.overviewX(last);
    if (right - left > view.width - 1) return;
    context.globalAlpha = 0.55;
    context.fillStyle = this.colours.back;
    context.fillRect(view.gutter, top, left - view.gutter, height);
    context.fillRect(right, top, view.gutter + view.width - right, height);
    context.globalAlpha = 1;
    context.strokeStyle = this.colours.main;
    context.lineWidth = 2;
    context.strokeRect(left + 1, top + 1, Math.max(4, right - left - 2), height - 2);
  }

  #drawNames(context) {
    const { view } = this;
    const names = [[view.lanesTop - lookedHeight / 2 - gap, "looked at", this.colours.dim], [view.overviewTop + overviewHeight / 2, "whole", this.colours.dim]];
    for (const [middle, text, colour] of names) this.#text(context, text, 2, middle, view.gutter - 6, colour);
    view.lanes.forEach(({ name, key, colour }, index) => {
      const top = view.lanesTop + index * laneHeight, middle = top + (laneHeight - 3) / 2;
      context.fillStyle = colour;
      context.fillRect(2, top + 4, 4, laneHeight - 11);
      this.#text(context, key ? `${key}  ${name}` : name, 11, middle, view.gutter - 16, this.colours.ink);
    });
  }

  #text(context, text, left, middle, room, colour) {
    context.fillStyle = colour;
    let shown = text.slice(0, Math.ceil(room / 3));
    while (shown && context.measureText(shown).width > room) shown = shown.slice(0, -1);
    if (shown.length < text.length) shown = shown.slice(0, -1) + (shown.length > 1 ? "…" : "");
    context.fillText(shown, left, middle + 1);
  }

  drawTop() {
    const { view } = this;
    const context = this.#contextOf(view.top), { selection, begun, watched } = view.scene;
    context.save();
    context.beginPath();
    context.rect(view.gutter - 5, 0, view.width + 10, view.height);
    context.clip();
    const lanesBottom = view.overviewTop - gap;
    if (watched) { // what U would take as looked at
      context.fillStyle = this.colours.main;
      context.globalAlpha = 0.5;
      context.fillRect(view.x(watched[0]), view.lanesTop - lookedHeight - gap + 2, view.x(watched[1]) - view.x(watched[0]), 2);
      context.globalAlpha = 1;
    }
    if (begun) this.#drawOpen(context, begun.label, Math.min(begun.start, view.position), Math.max(begun.start, view.position));
    const range = view.drawnRange ?? selection;
    if (range) this.#drawSelection(context, range, lanesBottom);
    context.fillStyle = this.colours.ink;
    context.fillRect(view.x(view.position) - 1, 0, 2, lanesBottom);
    context.beginPath();
    context.moveTo(view.x(view.position) - 5, 0);
    context.lineTo(view.x(view.position) + 5, 0);
    context.lineTo(view.x(view.position), 7);
    context.fill();
    context.fillRect(view.overviewX(view.position) - 1, view.overviewTop, 2, overviewHeight);
    context.restore();
  }

  #laneTop(label) { return this.view.lanesTop + laneHeight * this.view.lanes.findIndex((lane) => lane.name === label); }

  #drawOpen(context, label, start, end) {
    const { view } = this;
    const lane = view.lanes.find((known) => known.name === label);
    if (!lane) return;
    context.fillStyle = lane.colour;
    context.globalAlpha = 0.55;
    context.fillRect(view.x(start), this.#laneTop(label), Math.max(2, view.x(end) - view.x(start)), laneHeight - 3);
    context.globalAlpha = 1;
    context.fillRect(view.x(start), this.#laneTop(label), 3, laneHeight - 3);
  }

  #drawSelection(context, { start, end, label }, bottom) {
    const { view } = this;
    const from = view.x(start ?? end), to = view.x(end ?? start);
    context.fillStyle = this.colours.main;
    context.globalAlpha = 0.14;
    context.fillRect(from, rulerHeight, to - from, bottom - rulerHeight);
    context.globalAlpha = 1;
    if (start !== null) context.fillRect(from - 1, rulerHeight, 2, bottom - rulerHeight);
    if (end !== null) context.fillRect(to - 1, rulerHeight, 2, bottom - rulerHeight);
    if (!label || start === null || end === null) return;
    context.strokeStyle = this.colours.main;
    context.lineWidth = 2;
    context.strokeRect(from, this.#laneTop(label), to - from, laneHeight - 3);
  }
}
