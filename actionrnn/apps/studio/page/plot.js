// Plots as SVG, made by DOM: a learning curve, and a score with its interval.

import { percent } from "./shared/timeline.js";

function shape(kind, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// In pixels, so that texts keep their size on a phone.
const plotWidth = () => (matchMedia("(max-width: 720px)").matches ? 320 : 560);
const line = (className, x1, y1, x2, y2) => shape("line", { class: className, x1, y1, x2, y2 });
const text = (words, x, y, anchor = "start") => shape("text", { x, y, "text-anchor": anchor }, words);

// At most `most` of the values, the ends among them.
function some(values, most) {
  if (values.length <= most) return values;
  return Array.from({ length: most }, (_, index) => values[Math.round(index * (values.length - 1) / (most - 1))]);
}

export const hasInterval = ({ low, high }) => Number.isFinite(low) && Number.isFinite(high);

// points: {recordings, value, low, high}, all but `recordings` 0 to 1, `low` and `high` perhaps null; baseline: a value or null.
export function learningCurve(points, baseline, description) {
  const width = plotWidth(), height = 260, left = 46, right = 12, top = 14, bottom = 40;
  const counts = points.map((point) => point.recordings);
  const first = Math.min(...counts), last = Math.max(...counts);
  const x = (count) => (last === first ? (left + width - right) / 2 : left + (count - first) / (last - first) * (width - left - right));
  const y = (value) => top + (1 - value) * (height - top - bottom);
  const plot = shape("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": description });
  for (const value of [0, 0.25, 0.5, 0.75, 1]) plot.append(line("grid", left, y(value), width - right, y(value)), text(`${100 * value} %`, left - 6, y(value) + 4, "end"));
  for (const count of some(counts, 6)) plot.append(text(String(count), x(count), height - bottom + 18, "middle"));
  plot.append(text("recordings, or groups, that it learnt from", (left + width) / 2, height - 4, "middle"));
  if (baseline !== null) plot.append(line("base", left, y(baseline), width - right, y(baseline)), text("average picture", width - right, y(baseline) - 5, "end"));
  const known = points.filter(hasInterval);
  const upper = known.map(({ recordings, high }) => `${x(recordings)},${y(high)}`);
  const lower = known.map(({ recordings, low }) => `${x(recordings)},${y(low)}`).reverse();
  plot.append(shape("polygon", { class: "band", points: [...upper, ...lower].join(" ") }),
    shape("polyline", { class: "line", points: points.map(({ recordings, value }) => `${x(recordings)},${y(value)}`).join(" ") }),
    ...points.map(({ recordings, value }) => shape("circle", { class: "dot", cx: x(recordings), cy: y(value), r: 3.5 })));
  return plot;
}

// A line from 0 to 100 % with the interval, the value, and the baseline as a dashed stroke.
export function scoreScale({ value, low, high, baseline }) {
  const width = plotWidth(), height = 58, left = 16, right = 16, middle = 22;
  const x = (part) => left + part * (width - left - right);
  const plot = shape("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  plot.append(line("grid", x(0), middle, x(1), middle));
  if (hasInterval({ low, high })) plot.append(line("interval", x(low), middle, x(high), middle));
  plot.append(shape("circle", { class: "dot", cx: x(value), cy: middle, r: 7 }));
  for (const part of [0, 0.5, 1]) plot.append(text(`${100 * part} %`, x(part), height - 6, { 0: "start", 1: "end" }[part] ?? "middle"));
  if (baseline !== null) plot.append(line("base", x(baseline), 4, x(baseline), 38));
  return plot;
}

// For screen readers and for those who want the numbers.
export const saidCurve = (points) => points.map(saidPoint).join("; ");

function saidPoint({ recordings, value, low, high }) {
  const said = `${recordings}: ${percent(value)}`;
  return hasInterval({ low, high }) ? `${said} (${percent(low)} to ${percent(high)})` : said;
}
