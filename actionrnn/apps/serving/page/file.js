// A file goes up, the answer comes down; the video itself is played from here.

import { address, byId, clock, colourOf, drawCurves, element, headers, mostCurves, penOf, percent, say, showBars, showLegend } from "./common.js";

const video = byId("video"), curves = byId("curves"), strip = byId("strip");
const kinds = { json: "application/json", csv: "text/csv", srt: "application/x-subrip", vtt: "text/vtt" };
let answer = null, shownFile = null, conversion = null, request = null, links = [], place = 0, playable = false;

export function send(file, limits) {
  if (request) request.abort();
  say("");
  if (limits && file.size > limits.upload_mb * 1e6) {
    say(`${file.name}: has ${Math.round(file.size / 1e6)} MB, ${limits.upload_mb} MB are taken; cut or convert it`);
    return;
  }
  byId("result").hidden = true;
  byId("working").hidden = false;
  const progress = byId("progress"), stage = byId("stage"), mine = new XMLHttpRequest();
  request = mine;
  progress.value = 0;
  stage.textContent = "sending";
  mine.upload.onprogress = (event) => { progress.value = event.loaded / event.total; };
  mine.upload.onload = () => { progress.removeAttribute("value"); stage.textContent = "looking at the frames"; };
  mine.onload = () => { if (mine.status === 200) show(file, JSON.parse(mine.responseText)); else say(problemOf(mine)); };
  mine.onerror = () => say("The server does not answer; is it still running?");
  mine.onloadend = () => { if (request === mine) { request = null; byId("working").hidden = true; } };
  mine.open("POST", address("timeline?format=all"));
  for (const [name, value] of Object.entries(headers)) mine.setRequestHeader(name, value);
  const form = new FormData();
  form.append("file", file);
  mine.send(form);
}

export const cancel = () => { if (request) request.abort(); };

function problemOf(done) {
  try { return JSON.parse(done.responseText).error; } catch { return `The server says ${done.status} ${done.statusText}`; }
}

// What this browser cannot play (most .avi), the server makes an .mp4 of.
async function convert(file) {
  const note = byId("unplayable");
  const mine = conversion = new AbortController();
  note.hidden = false;
  note.textContent = "This browser cannot play the file; the server converts it ...";
  try {
    const form = new FormData();
    form.append("file", file);
    const reply = await fetch(address("playable"), { method: "POST", body: form, headers, signal: mine.signal });
    if (!reply.ok) throw new Error(reply.status);
    const source = URL.createObjectURL(await reply.blob());
    if (conversion !== mine) return;
    links.push(source);
    note.textContent = "Converted for this browser.";
    video.hidden = false;
    video.src = source;
  } catch {
    if (conversion === mine) note.textContent = "This browser cannot play the file. The scores are there all the same.";
  }
}

function show(file, found) {
  const order = found.labels.map((_, index) => index);
  const peak = order.map((index) => Math.max(...found.steps.map((step) => step.scores[index])));
  const shown = order.sort((a, b) => peak[b] - peak[a]).slice(0, mostCurves);
  const times = found.steps.map((step) => step.pts_seconds);
  const last = Math.max(times[times.length - 1], ...found.segments.map((part) => part.end_seconds));
  answer = {
    ...found, times, last, first: times[0],
    names: shown.map((index) => found.labels[index]),
    rows: shown.map((index) => found.steps.map((step) => step.scores[index])),
  };
  for (const link of links) URL.revokeObjectURL(link);
  if (conversion) conversion.abort();
  conversion = null;
  shownFile = file;
  const source = URL.createObjectURL(file);
  links = [source];
  playable = false;
  byId("unplayable").hidden = true;
  video.hidden = false;
  video.src = source;
  byId("name").textContent = file.name;
  const placeOf = (label) => answer.names.indexOf(label);
  const best = found.prediction;
  showBars(byId("best"), best.labels.map((label, index) => [label, best.scores[index], colourOf(placeOf(label))]));
  byId("took").textContent = `The whole video: ${times.length} frames looked at, ${best.took_seconds.toFixed(2)} s`;
  const texts = { json: JSON.stringify({ ...found, files: undefined }), ...found.files };
  for (const [kind, text] of Object.entries(texts)) {
    const link = byId("save-" + kind);
    link.href = URL.createObjectURL(new Blob([text], { type: kinds[kind] }));
    link.download = file.name.replace(/\.[^.]*$/, "") + "." + kind;
    links.push(link.href);
  }
  showLegend(byId("legend"), answer.names);
  byId("segments").replaceChildren(...found.segments.map((part) => {
    const row = element("tr"), from = element("td"), go = element("button", clock(part.start_seconds));
    go.addEventListener("click", () => seek(part.start_seconds));
    from.append(go);
    row.append(from, element("td", clock(part.end_seconds)), element("td", part.label), element("td", percent(part.score)));
    return row;
  }));
  byId("result").hidden = false;
  seek(answer.first);
}

// The player's clock begins at 0, the file's own may not; times before the first step are its own.
const offset = () => Math.min(0, answer.first);

function seek(seconds) {
  place = Math.min(Math.max(seconds, answer.first), answer.last);
  if (playable) video.currentTime = Math.max(0, place - offset());
  draw();
}

function stepAt(seconds) {
  let low = 0, high = answer.times.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (answer.times[middle] <= seconds + 1e-6) low = middle; else high = middle - 1;
  }
  return low;
}

function draw() {
  if (!answer || byId("result").hidden || !curves.clientWidth) return;
  drawStrip();
  const [pen, x, height] = drawCurves(curves, answer.times, answer.rows, answer.first, answer.last);
  pen.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--ink");
  pen.fillRect(x(place) - 1, 0, 2, height);
  const step = stepAt(place);
  const best = answer.names.map((label, index) => [answer.rows[index][step], label]).sort((a, b) => b[0] - a[0]);
  const said = best.slice(0, 3).map(([score, label]) => `${label} ${percent(score)}`).join("   ");
  byId("now").textContent = `${clock(place)}   ${said}`;
  curves.setAttribute("aria-valuenow", (place - answer.first).toFixed(2));
  curves.setAttribute("aria-valuemax", (answer.last - answer.first).toFixed(2));
  curves.setAttribute("aria-valuetext", byId("now").textContent);
  [...byId("segments").children].forEach((row, index) => {
    const part = answer.segments[index];
    row.classList.toggle("on", part.start_seconds <= place && place < part.end_seconds);
  });
}

function drawStrip() {
  const [pen, width, height] = penOf(strip);
  const span = Math.max(answer.last - answer.first, 1e-3);
  const x = (seconds) => (seconds - answer.first) / span * width;
  pen.font = "13px system-ui, sans-serif";
  pen.textBaseline = "middle";
  for (const part of answer.segments) {
    const left = x(part.start_seconds), wide = Math.max(1, x(part.end_seconds) - left);
    pen.fillStyle = colourOf(answer.names.indexOf(part.label));
    pen.fillRect(left, 0, wide, height);
    pen.fillStyle = "#ffffff";
    if (pen.measureText(part.label).width + 10 < wide) pen.fillText(part.label, left + 5, height / 2 + 1);
  }
  pen.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--ink");
  pen.fillRect(x(place) - 1, 0, 2, height);
}

function follow() {
  if (answer && playable) { place = video.currentTime + offset(); draw(); }
}

for (const canvas of [strip, curves]) {
  const go = (event) => {
    const box = canvas.getBoundingClientRect();
    seek(answer.first + (event.clientX - box.left) / box.width * (answer.last - answer.first));
  };
  canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); go(event); });
  canvas.addEventListener("pointermove", (event) => { if (event.buttons) go(event); });
}
curves.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -0.5, ArrowRight: 0.5, PageDown: -5, PageUp: 5 }[event.key];
  if (by) { seek(place + by); event.preventDefault(); }
});
video.addEventListener("loadeddata", () => { playable = true; seek(place); });
video.addEventListener("error", () => {
  playable = false;
  video.hidden = true;
  if (shownFile && !conversion) convert(shownFile);
});
for (const name of ["timeupdate", "seeked"]) video.addEventListener(name, follow);
window.addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
const everyFrame = () => { if (!video.paused) follow(); requestAnimationFrame(everyFrame); };
everyFrame();
