// The timeline below a video: segments, score curves, and the position, which can be dragged.
// The server's page imports this file; `actionrnn timeline --html` writes it into its page.
// Labels are untrusted: they are set as text, never as HTML.

export const byId = (id) => document.getElementById(id);
export const percent = (score) => (score < 0.1 ? (100 * score).toFixed(1) : Math.round(100 * score)) + " %";

// Fill colour, and the colour of text on it.
const palette = [
  ["#4c78a8", "#ffffff"], ["#f58518", "#10151c"], ["#54a24b", "#10151c"],
  ["#e45756", "#10151c"], ["#b279a2", "#10151c"], ["#9d755d", "#ffffff"],
];
const otherColour = ["#8b929b", "#10151c"];
export const maxCurves = palette.length;
const coloursOf = (curve) => palette[curve] ?? otherColour;
export const colourOf = (curve) => coloursOf(curve)[0];

export function element(kind, text, className) {
  const made = document.createElement(kind);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// 3725.5 -> 1:02:05.5
export function clock(seconds) {
  const tenths = Math.round(Math.abs(seconds) * 10), whole = Math.floor(tenths / 10);
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  const front = hours ? hours + ":" + String(minutes).padStart(2, "0") : minutes;
  const sign = seconds < 0 && tenths ? "-" : "";
  return sign + front + ":" + String(whole % 60).padStart(2, "0") + "." + tenths % 10;
}

export function showLegend(target, labels, colours = labels.map((_, curve) => colourOf(curve))) {
  target.replaceChildren(...labels.map((label, curve) => {
    const entry = element("span", label);
    entry.style.setProperty("--colour", colours[curve]);
    return entry;
  }));
}

// A canvas's context in CSS pixels, cleared; its width and height.
function contextOf(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.font = "12px system-ui, sans-serif";
  return [context, width, height];
}

const cssColour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);

function drawPosition(context, x, height) {
  context.fillStyle = cssColour("--ink");
  context.fillRect(x - 1, 0, 2, height);
}

const tickSeconds = [0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400];
const minTickPixels = 72;

// data: `times` in seconds, `curves`, each one label's scores at these times, and perhaps their `colours`.
// The canvas shows `first` to `last` seconds; `position`, if given, is marked.
export function drawCurves(canvas, data, first, last, position) {
  const [context, width, height] = contextOf(canvas);
  const span = Math.max(last - first, 1e-3);
  const x = (seconds) => (seconds - first) / span * width;
  const top = 16, bottom = height - 20, y = (score) => bottom - score * (bottom - top);
  context.strokeStyle = cssColour("--line");
  context.fillStyle = cssColour("--dim");
  for (const level of [0, 0.5, 1]) {
    context.beginPath(); context.moveTo(0, y(level)); context.lineTo(width, y(level)); context.stroke();
    if (level) context.fillText(100 * level + " %", 2, y(level) - 3);
  }
  const tick = tickSeconds.find((seconds) => seconds / span * width >= minTickPixels) || 86400;
  for (let count = Math.ceil(first / tick); count * tick <= last; count++)
    if (x(count * tick) < width - 40) context.fillText(clock(count * tick).replace(/\.0$/, ""), x(count * tick) + 2, height - 5);
  context.lineWidth = 2;
  data.curves.forEach((scores, curve) => {
    context.strokeStyle = context.fillStyle = data.colours?.[curve] ?? colourOf(curve);
    context.beginPath();
    scores.forEach((score, step) => context.lineTo(x(data.times[step]), y(score)));
    context.stroke();
    if (scores.length === 1) context.fillRect(x(data.times[0]), y(scores[0]) - 2, 5, 5);
  });
  if (position !== undefined) drawPosition(context, x(position), height);
}

const laneHeight = 20;

// The lane of each label where segments overlap, in the order in which labels begin; else none.
function lanesOf(segments) {
  let reached = -Infinity, overlap = false;
  for (const part of segments) {
    overlap ||= part.start_seconds < reached;
    reached = Math.max(reached, part.end_seconds);
  }
  const labels = overlap ? new Set(segments.map((part) => part.label)) : [];
  return new Map([...labels].map((label, lane) => [label, lane]));
}

const noneOfThese = "none of these";
const noSegment = "No segment: no label scores high enough for long enough.";
const noneAtAll = "No segment: this looks like none of these labels, or none scores high enough for long enough.";

const isWithin = (part, seconds) => part.start_seconds <= seconds && seconds < part.end_seconds;

const keySeconds = { ArrowLeft: -0.5, ArrowRight: 0.5, PageDown: -5, PageUp: 5, Home: -Infinity, End: Infinity };

// Fills `home` and follows `video`, or moves alone where the browser cannot play the video.
export class TimelineView {
  #isSeekDue = false; // once the seek that runs is done

  constructor(home, video) {
    this.video = video;
    this.now = element("p", "", "now");
    this.strip = element("canvas", undefined, "strip");
    this.canvas = element("canvas", undefined, "curves");
    this.legend = element("div", undefined, "legend");
    this.noSegments = element("p", noSegment, "dim");
    this.table = element("table");
    this.rows = element("tbody");
    const head = element("thead"), names = element("tr");
    names.append(...["from", "to", "action", "score"].map((name) => element("th", name)));
    head.append(names);
    this.table.append(head, this.rows);
    home.replaceChildren(this.now, this.strip, this.canvas, this.legend, this.noSegments, this.table);

    this.strip.setAttribute("aria-hidden", "true"); // the table says the same
    for (const [name, value] of Object.entries({
      role: "slider", tabindex: "0", "aria-valuemin": "0",
      "aria-label": "Position in the video; above it the scores of the best labels over time",
    })) this.canvas.setAttribute(name, value);
    for (const canvas of [this.strip, this.canvas]) this.#seekByPointer(canvas);
    this.canvas.addEventListener("keydown", (event) => {
      const change = keySeconds[event.key];
      if (change) { this.seek(this.position + change); event.preventDefault(); }
    });
    this.#followVideo();
    new ResizeObserver(() => this.draw()).observe(this.canvas); // also when it is first shown
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  // data: `labels` and their `curves` (at most `maxCurves`), the steps' `times`, the `segments`
  // (label, start_seconds, end_seconds, score) and, if known, the video's own `start_seconds` and
  // the stretches that look like `none_of_these` (start_seconds, end_seconds).
  show(data) {
    const first = Math.min(data.times[0], data.start_seconds ?? data.times[0]);
    const last = data.segments.reduce((end, part) => Math.max(end, part.end_seconds), data.times.at(-1));
    this.data = { ...data, first, last };
    this.position = first;
    showLegend(this.legend, data.labels);
    this.shown = []; // the segments at the position, whose rows stand out
    this.lanes = lanesOf(data.segments);
    this.strip.style.height = this.lanes.size > 1 ? laneHeight * this.lanes.size + "px" : "";
    this.noSegments.textContent = data.none_of_these?.length ? noneAtAll : noSegment;
    this.noSegments.hidden = data.segments.length > 0;
    this.table.hidden = !data.segments.length;
    this.rows.replaceChildren(...data.segments.map((part) => {
      const row = element("tr"), from = element("td");
      from.append(element("button", clock(part.start_seconds)));
      row.append(from, ...[clock(part.end_seconds), part.label, percent(part.score)].map((text) => element("td", text)));
      row.addEventListener("click", () => this.seek(part.start_seconds)); // and its button's
      return row;
    }));
    if (this.#isPlayable) this.#setClock();
    this.draw();
  }

  seek(seconds) {
    this.position = Math.min(Math.max(seconds, this.data.first), this.data.last);
    this.#seekVideo();
    this.draw();
  }

  // One seek at a time: of seeks to A, B and A while the first runs, Chromium stops reading for B and
  // then takes the last for the first, which never ends, or plays the few frames that it has and stands.
  #seekVideo() {
    if (!this.#isPlayable) return;
    this.#isSeekDue = this.video.seeking;
    if (!this.#isSeekDue) this.video.currentTime = Math.max(0, this.position - this.offset);
  }

  get #isPlayable() { return this.video.readyState >= HTMLMediaElement.HAVE_METADATA; }

  // The player's time plus `offset` is the file's. Some players begin at 0, some at the file's
  // first time, but none at a negative one.
  #setClock() {
    const start = this.data.start_seconds;
    this.offset = start === undefined ? Math.min(0, this.data.first) : start - this.video.currentTime;
  }

  #followVideo() {
    const follow = () => {
      if (!this.data || !this.#isPlayable || this.#isSeekDue) return;
      this.position = this.video.currentTime + this.offset;
      this.draw();
    };
    const everyFrame = () => {
      follow();
      if (!this.video.paused) requestAnimationFrame(everyFrame);
    };
    this.video.addEventListener("loadedmetadata", () => {
      this.#isSeekDue = false;
      if (!this.data) return;
      this.#setClock();
      if (this.position > this.data.first) this.seek(this.position); // it was moved before
    });
    this.video.addEventListener("play", everyFrame);
    this.video.addEventListener("seeked", () => { if (this.#isSeekDue) this.#seekVideo(); else follow(); });
  }

  #seekByPointer(canvas) {
    const seek = (event) => {
      const box = canvas.getBoundingClientRect(), { first, last } = this.data;
      this.seek(first + (event.clientX - box.left) / box.width * (last - first));
    };
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); seek(event); });
    canvas.addEventListener("pointermove", (event) => { if (event.buttons) seek(event); });
  }

  draw() {
    if (!this.data || !this.canvas.clientWidth) return;
    const { first, last } = this.data;
    this.#drawStrip();
    drawCurves(this.canvas, this.data, first, last, this.position);
    this.now.textContent = this.#describe();
    this.canvas.setAttribute("aria-valuenow", (this.position - first).toFixed(2));
    this.canvas.setAttribute("aria-valuemax", (last - first).toFixed(2));
    this.canvas.setAttribute("aria-valuetext", this.now.textContent);
    const { segments } = this.data, rows = this.rows.children;
    const isNow = (part) => isWithin(segments[part], this.position);
    for (const part of this.shown) if (!isNow(part)) rows[part].classList.remove("on");
    this.shown = [...segments.keys()].filter(isNow);
    for (const part of this.shown) rows[part].classList.add("on");
  }

  // 0:01.5   walk 93 %   run 4.2 %
  #describe() {
    const step = this.#stepAt(this.position);
    const best = this.data.labels.map((label, curve) => [this.data.curves[curve][step], label]);
    best.sort((a, b) => b[0] - a[0]);
    const scores = best.slice(0, 3).map(([score, label]) => `${label} ${percent(score)}`);
    const isNone = (this.data.none_of_these ?? []).some((part) => isWithin(part, this.position));
    return [clock(this.position), ...(isNone ? [noneOfThese + "?"] : []), ...scores].join("   ");
  }

  // The last step that is not later.
  #stepAt(seconds) {
    let low = 0, high = this.data.times.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.data.times[middle] <= seconds + 1e-6) low = middle; else high = middle - 1;
    }
    return low;
  }

  #drawStrip() {
    const [context, width, height] = contextOf(this.strip);
    const { first, last, labels, segments } = this.data;
    const x = (seconds) => (seconds - first) / Math.max(last - first, 1e-3) * width;
    context.font = "13px system-ui, sans-serif";
    context.textBaseline = "middle";
    const high = height / Math.max(1, this.lanes.size);
    const box = (part, text, top, high, fill, ink) => {
      const left = x(part.start_seconds), wide = Math.max(1, x(part.end_seconds) - left);
      context.fillStyle = fill;
      context.fillRect(left, top, wide, high);
      context.fillStyle = ink;
      if (context.measureText(text).width + 10 < wide) context.fillText(text, left + 5, top + high / 2 + 1);
    };
    // below the segments, which are of smoothed scores and cover what is short
    for (const part of this.data.none_of_these ?? []) box(part, noneOfThese, 0, height, cssColour("--line"), cssColour("--ink"));
    for (const part of segments) box(part, part.label, high * (this.lanes.get(part.label) ?? 0), high, ...coloursOf(labels.indexOf(part.label)));
    drawPosition(context, x(this.position), height);
  }
}
