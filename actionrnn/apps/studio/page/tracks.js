// The timeline: time, thumbnails, what was looked at, one lane a label, and the whole video below.
// It draws what it is given and tells what a pointer does; it changes nothing by itself.
// Two canvases: what changes seldom, and above it the position and what is being dragged.

import { clock } from "./shared/timeline.js";
import { make } from "./dom.js";

const rulerHeight = 20, thumbnailHeight = 44, lookedHeight = 12, laneHeight = 26, overviewHeight = 22, gap = 4;
const edgePixels = 7, minFrames = 8, minTickPixels = 76;
const tickSeconds = [0.04, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400];
const keptTimings = 240;

const rulerText = (seconds, tick) => (tick < 0.1 ? `${clock(seconds).slice(0, -2)}.${String(Math.round(seconds * 100) % 100).padStart(2, "0")}` : clock(seconds).replace(/\.0$/, ""));

// The first index of a sorted list whose value is not below.
function firstFrom(list, value, of) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (of(list[middle]) < value) low = middle + 1; else high = middle;
  }
  return low;
}

// Black or white, whichever is easier to read on a colour "#rrggbb".
export function inkOn(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255).map((value) => (value <= 0.04 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#10151c" : "#ffffff";
}

export class Tracks {
  #drag = null;
  #wanted = new Set();
  #hatches = new Map();

  // listen: seek(seconds), select(mark or proposal, or null), range(label, start, end),
  // edge(mark, {start, end}, isDone), and limits(mark) -> [earliest begin, latest end].
  constructor(home, listen) {
    this.listen = listen;
    this.home = home;
    this.base = make("canvas", { className: "tracks-base", "aria-hidden": "true" });
    this.top = make("canvas", { className: "tracks-top", tabIndex: 0, role: "slider", "aria-label": "Position in the video" });
    home.append(this.base, this.top);
    this.scene = { labels: [], marks: [], proposals: [], looked: [], selection: null, begun: null, selected: null, watched: null };
    Object.assign(this, { times: [0], start: 0, end: 1, first: 0, last: 1, position: 0, sprite: null, curves: null, lanes: [] });
    this.timings = []; // milliseconds of the last redraws
    this.top.timings = this.timings;
    this.#listenToPointers();
    this.observer = new ResizeObserver(() => this.redraw());
    this.observer.observe(home);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.scheme.addEventListener("change", this.#recolour);
    this.#recolour();
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
  setSprite(sprite) { this.sprite = sprite; this.#layOut(); }

  // {times, scores: a list for each label, labels} of the model, or null.
  setCurves(curves) { this.curves = curves; this.redraw(); }

  // scene: labels [{name, key, colour}], marks and proposals in order of time, looked stretches,
  // selection {start, end, label?}, begun {label, start}, selected id, watched [start, end].
  show(scene) {
    this.scene = { ...this.scene, ...scene };
    this.lanes = this.scene.labels.map((label) => ({
      ...label,
      ink: inkOn(label.colour),
      marks: this.scene.marks.filter((mark) => mark.label === label.name),
      proposals: this.scene.proposals.filter((proposal) => proposal.label === label.name),
    }));
    this.#layOut();
  }

  moveTo(position) {
    this.position = position;
    if (position < this.first || position > this.last) this.#see(position);
    this.#want("top");
  }

  // factor > 1 shows less, around a moment that keeps its place.
  zoom(factor, around = this.position) {
    const [first, last] = [this.first, this.last], least = Math.min(this.end - this.start, minFrames * (this.end - this.start) / this.times.length);
    const span = Math.min(Math.max((last - first) / factor, least), this.end - this.start);
    const part = Math.min(Math.max((around - first) / (last - first), 0), 1);
    this.#setView(around - part * span, span);
  }

  pan(seconds) { this.#setView(this.first + seconds, this.last - this.first); }

  // Shows a stretch as a whole, with a little room.
  reveal(start, end) {
    const span = this.last - this.first;
    if (start >= this.first && end <= this.last) return;
    if (end - start > span) this.#setView(start - 0.1 * (end - start), 1.2 * (end - start)); else this.#setView(start - (span - (end - start)) / 2, span);
  }

  redraw() { this.#want("base"); this.#want("top"); }

  #setView(first, span) {
    this.first = Math.min(Math.max(first, this.start), this.end - span);
    this.last = this.first + span;
    this.redraw();
  }

  // Turns the page so that a position near its begin is seen.
  #see(position) {
    const span = this.last - this.first;
    this.#setView(position - 0.1 * span, span);
  }

  #recolour = () => {
    const style = getComputedStyle(document.documentElement);
    this.colours = Object.fromEntries(["ink", "dim", "back", "line", "soft", "main"].map((name) => [name, style.getPropertyValue("--" + name).trim()]));
    this.#hatches.clear();
    this.redraw();
  };

  #layOut() {
    const lanesTop = rulerHeight + (this.sprite ? thumbnailHeight + gap : 0) + lookedHeight + gap;
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
    if (this.home.clientWidth) {
      this.gutter = this.home.clientWidth < 600 ? 74 : 120;
      this.width = this.home.clientWidth - this.gutter;
      if (this.#wanted.has("base")) this.#drawBase();
      this.#drawTop();
    }
    this.#wanted.clear();
    this.timings.push(performance.now() - began);
    if (this.timings.length > keptTimings) this.timings.shift();
  }

  #x = (seconds) => this.gutter + (seconds - this.first) / (this.last - this.first) * this.width;
  #seconds = (x) => this.first + (x - this.gutter) / this.width * (this.last - this.first);
  #overviewX = (seconds) => this.gutter + (seconds - this.start) / (this.end - this.start) * this.width;
  get #overviewTop() { return this.height - overviewHeight; }

  // The context in CSS pixels, cleared.
  #contextOf(canvas) {
    const ratio = window.devicePixelRatio || 1, width = Math.round((this.width + this.gutter) * ratio), height = Math.round(this.height * ratio);
    const context = canvas.getContext("2d");
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.width + this.gutter, this.height);
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "middle";
    return context;
  }

  #drawBase() {
    const context = this.#contextOf(this.base);
    context.save();
    context.beginPath();
    context.rect(this.gutter, 0, this.width, this.height);
    context.clip();
    this.#drawRuler(context);
    if (this.sprite) this.#drawThumbnails(context);
    this.#drawLooked(context, this.lanesTop - lookedHeight - gap, lookedHeight, this.#x);
    this.lanes.forEach((lane, index) => this.#drawLane(context, lane, this.lanesTop + index * laneHeight));
    this.#drawOverview(context);
    context.restore();
    this.#drawNames(context);
  }

  #drawRuler(context) {
    const span = this.last - this.first, tick = tickSeconds.find((seconds) => seconds / span * this.width >= minTickPixels) ?? 86400;
    context.fillStyle = this.colours.line;
    for (let count = Math.ceil(this.first / tick); count * tick <= this.last; count++) context.fillRect(Math.round(this.#x(count * tick)), 0, 1, this.#overviewTop - gap);
    context.fillStyle = this.colours.dim;
    for (let count = Math.floor(this.first / tick); count * tick <= this.last; count++) context.fillText(rulerText(count * tick, tick), this.#x(count * tick) + 4, rulerHeight / 2);
  }

  #drawThumbnails(context) {
    const { image, tile_width, tile_height, columns, times } = this.sprite;
    const width = tile_width / tile_height * thumbnailHeight, span = (this.last - this.first) / this.width * width;
    // at fixed moments, so that they move with the timeline
    for (let slot = Math.floor(this.first / span); slot * span < this.last; slot++) {
      const middle = Math.min(Math.max((slot + 0.5) * span, this.start), this.end);
      const tile = Math.max(0, firstFrom(times, middle + 1e-6, (time) => time) - 1);
      context.drawImage(image, tile % columns * tile_width, Math.floor(tile / columns) * tile_height, tile_width, tile_height, this.#x(slot * span), rulerHeight, width, thumbnailHeight);
    }
    context.fillStyle = this.colours.back; // nothing before the begin or after the end
    context.fillRect(this.#x(this.end), rulerHeight, this.width, thumbnailHeight);
    context.fillRect(this.gutter, rulerHeight, Math.max(0, this.#x(this.start) - this.gutter), thumbnailHeight);
  }

  #drawLooked(context, top, height, x) {
    context.fillStyle = this.colours.soft;
    context.fillRect(x(this.start), top, x(this.end) - x(this.start), height);
    context.fillStyle = this.colours.dim;
    for (const [start, end] of this.scene.looked) context.fillRect(x(start), top + height / 4, Math.max(1, x(end) - x(start)), height / 2);
  }

  #drawLane(context, lane, top) {
    const height = laneHeight - 3;
    context.fillStyle = this.colours.soft;
    context.fillRect(this.gutter, top, this.width, height);
    this.#drawCurve(context, lane, top, height);
    this.#eachBox(lane.proposals, this.#x, (proposal, left, wide) => this.#drawProposal(context, lane, proposal, left, wide, top, height));
    this.#eachBox(lane.marks, this.#x, (mark, left, wide) => {
      context.fillStyle = lane.colour;
      context.fillRect(left, top, wide, height);
      if (wide > 6) { // neighbours stay apart
        context.fillStyle = this.colours.back;
        context.fillRect(left + wide - 1, top, 1, height);
      }
      if (wide > 40) this.#text(context, mark.note || lane.name, Math.max(left, this.gutter) + 5, top + height / 2, wide - 8, lane.ink);
      if (mark.id === this.scene.selected) this.#outline(context, left, wide, top, height);
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
    if (proposal.id === this.scene.selected) this.#outline(context, left, wide, top, height);
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
    const scores = this.curves?.scores[this.curves.labels.indexOf(lane.name)];
    if (!scores) return;
    const { times } = this.curves, bottom = top + height;
    let step = Math.max(0, firstFrom(times, this.first, (time) => time) - 1), left = this.#x(times[step]);
    context.fillStyle = lane.colour;
    context.globalAlpha = 0.3;
    context.beginPath();
    context.moveTo(left, bottom);
    while (step < times.length && left <= this.gutter + this.width) {
      let best = scores[step], next = step + 1;
      while (next < times.length && this.#x(times[next]) < left + 1) best = Math.max(best, scores[next++]);
      context.lineTo(left, bottom - best * height);
      left = next < times.length ? this.#x(times[next]) : this.#x(Math.min(this.end, 2 * times.at(-1) - (times.at(-2) ?? this.start)));
      context.lineTo(left, bottom - best * height);
      step = next;
    }
    context.lineTo(left, bottom);
    context.fill();
    context.globalAlpha = 1;
  }

  // Calls draw(item, left, width) for what is in view; what ends on a pixel that is drawn is left out.
  #eachBox(items, x, draw) {
    let drawn = -Infinity;
    for (const item of items) {
      if (item.end < this.first || item.start > this.last) continue;
      const left = x(item.start), right = Math.max(left + 1, x(item.end));
      if (right <= drawn && item.id !== this.scene.selected) continue;
      drawn = Math.ceil(right);
      draw(item, left, right - left);
    }
  }

  #drawOverview(context) {
    const top = this.#overviewTop, height = overviewHeight, lane = Math.max(1, (height - 8) / Math.max(1, this.lanes.length));
    context.fillStyle = this.colours.soft;
    context.fillRect(this.gutter, top, this.width, height);
    const [first, last] = [this.first, this.last];
    [this.first, this.last] = [this.start, this.end]; // the whole is in its view
    this.lanes.forEach(({ colour, marks, proposals }, index) => {
      context.fillStyle = colour;
      this.#eachBox(marks, this.#overviewX, (_, left, wide) => context.fillRect(left, top + 1 + index * lane, wide, lane));
      context.globalAlpha = 0.45;
      this.#eachBox(proposals, this.#overviewX, (_, left, wide) => context.fillRect(left, top + 1 + index * lane, wide, lane));
      context.globalAlpha = 1;
    });
    [this.first, this.last] = [first, last];
    context.fillStyle = this.colours.dim;
    for (const [start, end] of this.scene.looked) context.fillRect(this.#overviewX(start), top + height - 5, Math.max(1, this.#overviewX(end) - this.#overviewX(start)), 3);
    const left = this.#overviewX(first), right = this.#overviewX(last);
    if (right - left > this.width - 1) return;
    context.globalAlpha = 0.55;
    context.fillStyle = this.colours.back;
    context.fillRect(this.gutter, top, left - this.gutter, height);
    context.fillRect(right, top, this.gutter + this.width - right, height);
    context.globalAlpha = 1;
    context.strokeStyle = this.colours.main;
    context.lineWidth = 2;
    context.strokeRect(left + 1, top + 1, Math.max(4, right - left - 2), height - 2);
  }

  #drawNames(context) {
    const names = [[this.lanesTop - lookedHeight / 2 - gap, "looked at", this.colours.dim], [this.#overviewTop + overviewHeight / 2, "whole", this.colours.dim]];
    for (const [middle, text, colour] of names) this.#text(context, text, 2, middle, this.gutter - 6, colour);
    this.lanes.forEach(({ name, key, colour }, index) => {
      const top = this.lanesTop + index * laneHeight, middle = top + (laneHeight - 3) / 2;
      context.fillStyle = colour;
      context.fillRect(2, top + 4, 4, laneHeight - 11);
      this.#text(context, key ? `${key}  ${name}` : name, 11, middle, this.gutter - 16, this.colours.ink);
    });
  }

  #text(context, text, left, middle, room, colour) {
    context.fillStyle = colour;
    let shown = text.slice(0, Math.ceil(room / 3));
    while (shown && context.measureText(shown).width > room) shown = shown.slice(0, -1);
    if (shown.length < text.length) shown = shown.slice(0, -1) + (shown.length > 1 ? "…" : "");
    context.fillText(shown, left, middle + 1);
  }

  #drawTop() {
    const context = this.#contextOf(this.top), { selection, begun, watched } = this.scene;
    context.save();
    context.beginPath();
    context.rect(this.gutter - 5, 0, this.width + 10, this.height);
    context.clip();
    const lanesBottom = this.#overviewTop - gap;
    if (watched) { // what U would take as looked at
      context.fillStyle = this.colours.main;
      context.globalAlpha = 0.5;
      context.fillRect(this.#x(watched[0]), this.lanesTop - lookedHeight - gap + 2, this.#x(watched[1]) - this.#x(watched[0]), 2);
      context.globalAlpha = 1;
    }
    if (begun) this.#drawOpen(context, begun.label, Math.min(begun.start, this.position), Math.max(begun.start, this.position));
    const range = this.#drag?.range ?? selection;
    if (range) this.#drawSelection(context, range, lanesBottom);
    context.fillStyle = this.colours.ink;
    context.fillRect(this.#x(this.position) - 1, 0, 2, lanesBottom);
    context.beginPath();
    context.moveTo(this.#x(this.position) - 5, 0);
    context.lineTo(this.#x(this.position) + 5, 0);
    context.lineTo(this.#x(this.position), 7);
    context.fill();
    context.fillRect(this.#overviewX(this.position) - 1, this.#overviewTop, 2, overviewHeight);
    context.restore();
  }

  #laneTop(label) { return this.lanesTop + laneHeight * this.lanes.findIndex((lane) => lane.name === label); }

  #drawOpen(context, label, start, end) {
    const lane = this.lanes.find((known) => known.name === label);
    if (!lane) return;
    context.fillStyle = lane.colour;
    context.globalAlpha = 0.55;
    context.fillRect(this.#x(start), this.#laneTop(label), Math.max(2, this.#x(end) - this.#x(start)), laneHeight - 3);
    context.globalAlpha = 1;
    context.fillRect(this.#x(start), this.#laneTop(label), 3, laneHeight - 3);
  }

  #drawSelection(context, { start, end, label }, bottom) {
    const from = this.#x(start ?? end), to = this.#x(end ?? start);
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

  // ---- pointers

  #listenToPointers() {
    const { top } = this;
    top.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      top.setPointerCapture(event.pointerId);
      top.focus({ preventScroll: true });
      this.#drag = this.#dragFrom(event);
      this.#drag.move?.(event);
    });
    top.addEventListener("pointermove", (event) => {
      if (this.#drag) { this.#drag.move?.(event); this.#drag.isMoved ||= Math.abs(event.clientX - this.#drag.x) > 3; } else this.#hover(event);
    });
    top.addEventListener("pointerup", (event) => { const drag = this.#drag; this.#drag = null; drag?.end?.(event, drag.isMoved); this.#want("top"); });
    top.addEventListener("pointercancel", () => { const drag = this.#drag; this.#drag = null; drag?.cancel?.(); this.#want("top"); });
    top.addEventListener("wheel", (event) => {
      const span = this.last - this.first;
      if (event.ctrlKey || event.metaKey) this.zoom(2 ** (-event.deltaY / 200), this.#seconds(this.#place(event).x));
      else if (event.deltaX || event.shiftKey) this.pan((event.deltaX || event.deltaY) / this.width * span);
      else return;
      event.preventDefault();
    }, { passive: false });
  }

  #place(event) {
    const box = this.top.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  // A frame's time, or the end.
  #snapped(event) {
    const seconds = Math.min(Math.max(this.#seconds(this.#place(event).x), this.start), this.end);
    const after = firstFrom(this.times, seconds, (time) => time), [before, next] = [this.times[Math.max(0, after - 1)], this.times[after] ?? this.end];
    return seconds - before < next - seconds ? before : next;
  }

  // What is at a place: {lane, mark or proposal, edge}.
  #at({ x, y }, reach) {
    const lane = this.lanes[Math.floor((y - this.lanesTop) / laneHeight)];
    if (!lane || y < this.lanesTop || y > this.#overviewTop - gap || x < this.gutter) return {};
    const near = (list) => list.filter((item) => this.#x(item.start) - reach <= x && x <= this.#x(item.end) + reach);
    const marks = near(lane.marks).sort((a, b) => (b.id === this.scene.selected) - (a.id === this.scene.selected));
    for (const mark of marks) {
      const [left, right] = [Math.abs(this.#x(mark.start) - x), Math.abs(this.#x(mark.end) - x)];
      if (Math.min(left, right) <= Math.min(reach, (this.#x(mark.end) - this.#x(mark.start)) / 3 + 3)) return { lane, mark, edge: left < right ? "start" : "end" };
    }
    const within = (item) => this.#x(item.start) <= x && x <= this.#x(item.end);
    return { lane, mark: marks.find(within), proposal: near(lane.proposals).find(within) };
  }

  #hover(event) {
    const place = this.#place(event), { mark, edge, proposal, lane } = this.#at(place, edgePixels);
    this.top.style.cursor = edge ? "ew-resize" : mark || proposal || place.y < this.lanesTop || place.y > this.#overviewTop - gap ? "pointer" : lane ? "crosshair" : "default";
  }

  #dragFrom(event) {
    const place = this.#place(event), common = { x: event.clientX, isMoved: false };
    if (place.y > this.#overviewTop - gap) {
      const move = (later) => {
        const seconds = this.start + (this.#place(later).x - this.gutter) / this.width * (this.end - this.start), span = this.last - this.first;
        this.#setView(seconds - span / 2, span);
        this.listen.seek(Math.min(Math.max(seconds, this.start), this.end));
      };
      return { ...common, move };
    }
    const { lane, mark, edge, proposal } = this.#at(place, event.pointerType === "mouse" ? edgePixels : 2 * edgePixels);
    if (edge) return { ...common, ...this.#edgeDrag(mark, edge) };
    if (mark || proposal) return { ...common, end: () => this.listen.select(mark ?? proposal) };
    if (lane) return { ...common, ...this.#rangeDrag(lane, this.#snapped(event)) };
    return { ...common, move: (later) => this.listen.seek(this.#seconds(this.#place(later).x)) };
  }

  #edgeDrag(mark, edge) {
    const [low, high] = this.listen.limits(mark), origin = mark[edge];
    let moved = { start: mark.start, end: mark.end };
    const isValid = (seconds) => (edge === "start" ? seconds >= low && seconds < mark.end : seconds > mark.start && seconds <= high);
    const move = (event) => {
      const snapped = this.#snapped(event), seconds = Math.min(Math.max(snapped, low), high);
      if (!isValid(seconds) || !this.#drag?.isMoved) return;
      moved = { ...moved, [edge]: seconds };
      this.listen.edge(mark, moved, false);
    };
    return {
      move,
      end: () => {
        if (moved[edge] !== origin) this.listen.edge(mark, moved, true);
        else { this.listen.edge(mark, null, false); this.listen.select(mark); }
      },
      cancel: () => this.listen.edge(mark, null, false),
    };
  }

  #rangeDrag(lane, from) {
    const rangeTo = (event) => { const to = this.#snapped(event); return { label: lane.name, start: Math.min(from, to), end: Math.max(from, to) }; };
    return {
      move: (event) => { if (this.#drag) { this.#drag.range = this.#drag.isMoved ? rangeTo(event) : undefined; this.#want("top"); } },
      end: (event, isMoved) => {
        const range = rangeTo(event);
        if (isMoved && range.start < range.end) this.listen.range(range); else { this.listen.select(null); this.listen.seek(from); }
      },
    };
  }
}
