// A video is sent to the server and its scores come back; the browser plays its own copy.

import { showBars, showProblem, timelineOf } from "./common.js";
import { address, headers } from "./server.js";
import { TimelineView, byId, colourOf, percent } from "./timeline.js";

const video = byId("video"), view = new TimelineView(byId("timeline"), video);
const kinds = { json: "application/json", csv: "text/csv", srt: "application/x-subrip", vtt: "text/vtt" };
let shownFile = null, request = null, conversion = null, links = [];

export function send(file, limits) {
  if (request) request.abort();
  showProblem("");
  if (limits && file.size > limits.upload_mb * 1e6) {
    showProblem(`${file.name}: has ${Math.round(file.size / 1e6)} MB; this server takes up to ${limits.upload_mb} MB. Cut or convert it.`);
    return;
  }
  byId("result").hidden = true;
  byId("working").hidden = false;
  const progress = byId("progress"), stage = byId("stage"), mine = new XMLHttpRequest();
  request = mine;
  progress.value = 0;
  stage.textContent = "sending";
  mine.upload.onprogress = (event) => { progress.value = event.loaded / event.total; };
  mine.upload.onload = () => { progress.removeAttribute("value"); stage.textContent = "analysing the frames"; };
  mine.onload = () => { if (mine.status === 200) show(file, JSON.parse(mine.responseText)); else showProblem(problemOf(mine)); };
  mine.onerror = () => showProblem("The server does not answer; is it still running?");
  mine.onloadend = () => { if (request === mine) { request = null; byId("working").hidden = true; } };
  mine.open("POST", address("timeline?format=all"));
  for (const [name, value] of Object.entries(headers)) mine.setRequestHeader(name, value);
  mine.send(formOf(file));
}

export const cancel = () => { if (request) request.abort(); };

function formOf(file) {
  const form = new FormData();
  form.append("file", file);
  return form;
}

function problemOf(done) {
  try { return JSON.parse(done.responseText).error; } catch { return `The server says ${done.status} ${done.statusText}`; }
}

// An object URL that is released when the next answer is shown.
function linkTo(blob) {
  links.push(URL.createObjectURL(blob));
  return links.at(-1);
}

// The server makes an .mp4 file of what this browser cannot play, such as most .avi files.
async function convert() {
  const note = byId("unplayable");
  const giveUp = () => { note.textContent = "This browser cannot play the file, and the server cannot convert it. The scores below are complete."; };
  video.hidden = true;
  note.hidden = false;
  if (conversion) { giveUp(); return; } // it cannot play the converted file either
  const mine = conversion = new AbortController();
  note.textContent = "This browser cannot play the file; the server is converting it ...";
  try {
    const reply = await fetch(address("playable"), { method: "POST", body: formOf(shownFile), headers, signal: mine.signal });
    if (!reply.ok) throw new Error(reply.status);
    const blob = await reply.blob();
    if (conversion !== mine) return;
    note.textContent = "Converted for this browser, without sound.";
    video.hidden = false;
    video.src = linkTo(blob);
  } catch {
    if (conversion === mine) giveUp();
  }
}

function show(file, found) {
  for (const link of links) URL.revokeObjectURL(link);
  links = [];
  if (conversion) conversion.abort();
  conversion = null;
  shownFile = file;
  byId("unplayable").hidden = true;
  video.hidden = false;
  video.src = linkTo(file);
  byId("result").hidden = false;
  const best = found.prediction, timeline = timelineOf(found, best.labels[0]);
  view.show(timeline);
  byId("name").textContent = file.name;
  byId("none").hidden = !best.none_of_these;
  byId("none").textContent = best.none_of_these ? `None of these: ${percent(best.typicality)} of their clips are as unusual.` : "";
  showBars(byId("best"), best.labels.map((label, index) => [label, best.scores[index], colourOf(timeline.labels.indexOf(label))]));
  byId("took").textContent = `The whole video: ${found.steps.length} frames analysed in ${best.took_seconds.toFixed(2)} s`;
  const texts = { json: JSON.stringify({ ...found, files: undefined }), ...found.files };
  for (const [kind, text] of Object.entries(texts)) {
    const link = byId("save-" + kind);
    link.href = linkTo(new Blob([text], { type: kinds[kind] }));
    link.download = file.name.replace(/\.[^.]*$/, "") + "." + kind;
  }
}

video.addEventListener("error", convert);
video.addEventListener("loadedmetadata", () => { if (!video.videoWidth) convert(); }); // it plays only the sound
