// What both panels need. Labels come from strangers: they are text, never HTML.

export const byId = (id) => document.getElementById(id);
const palette = ["#4c78a8", "#f58518", "#54a24b", "#e45756", "#b279a2", "#9d755d"];
const other = "#8b929b";
export const mostCurves = palette.length;
export const colourOf = (place) => place < 0 || place >= palette.length ? other : palette[place];
export const percent = (score) => (score < 0.1 ? (100 * score).toFixed(1) : Math.round(100 * score)) + " %";

const token = new URLSearchParams(location.search).get("token");
export const headers = token ? { Authorization: "Bearer " + token } : {};

export function address(path) {
  const url = new URL(path, location.href);
  url.search = path.includes("?") ? path.slice(path.indexOf("?")) : "";
  return url;
}

export function socketAddress(path) {
  const url = address(path);
  url.protocol = url.protocol.replace("http", "ws");
  if (token) url.searchParams.set("token", token);
  return url;
}

export function clock(seconds) {
  const tenths = Math.round(Math.max(0, seconds) * 10), whole = Math.floor(tenths / 10);
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  const front = hours ? hours + ":" + String(minutes).padStart(2, "0") : minutes;
  return front + ":" + String(whole % 60).padStart(2, "0") + "." + tenths % 10;
}

export function say(problem) {
  byId("problem").textContent = problem || "";
  byId("problem").hidden = !problem;
}

export function element(kind, text, className) {
  const made = document.createElement(kind);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

export function showBars(home, rows) {
  home.replaceChildren();
  for (const [label, score, colour] of rows) {
    const track = element("div", undefined, "track"), fill = element("div", undefined, "fill");
    fill.style.width = 100 * score + "%";
    fill.style.setProperty("--colour", colour);
    track.append(fill);
    home.append(element("div", label, "label"), track, element("div", percent(score), "score"));
  }
}

export function showLegend(home, labels) {
  home.replaceChildren(...labels.map((label, place) => {
    const entry = element("span", label);
    entry.style.setProperty("--colour", colourOf(place));
    return entry;
  }));
}

export function penOf(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  return [pen, width, height];
}

const steps = [0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600];

// curves: one list of scores for each place in the palette, of the same times
export function drawCurves(canvas, times, curves, first, last) {
  const [pen, width, height] = penOf(canvas);
  const style = getComputedStyle(document.documentElement);
  const span = Math.max(last - first, 1e-3);
  const x = (seconds) => (seconds - first) / span * width;
  const top = 14, bottom = height - 20, y = (score) => bottom - score * (bottom - top);
  pen.font = "12px system-ui, sans-serif";
  for (const level of [0, 0.5, 1]) {
    pen.strokeStyle = style.getPropertyValue("--line");
    pen.beginPath(); pen.moveTo(0, y(level)); pen.lineTo(width, y(level)); pen.stroke();
    pen.fillStyle = style.getPropertyValue("--dim");
    if (level) pen.fillText(100 * level + " %", 2, y(level) - 3);
  }
  const tick = steps.find((seconds) => seconds / span * width >= 72) || 7200;
  for (let seconds = Math.ceil(first / tick) * tick; seconds <= last; seconds += tick)
    if (x(seconds) < width - 36) pen.fillText(clock(seconds).replace(/\.0$/, ""), x(seconds) + 2, height - 5);
  curves.forEach((curve, place) => {
    pen.strokeStyle = colourOf(place);
    pen.lineWidth = 2;
    pen.beginPath();
    curve.forEach((score, step) => {
      if (step) pen.lineTo(x(times[step]), y(score)); else pen.moveTo(x(times[step]), y(score));
    });
    pen.stroke();
    if (curve.length === 1) { pen.fillStyle = colourOf(place); pen.fillRect(x(times[0]), y(curve[0]) - 2, 5, 5); }
  });
  return [pen, x, height];
}
