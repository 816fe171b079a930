// A video is sent to the server and its scores come back; the browser plays its own copy.

import { showBars, showProblem, timelineOf } from "./common.js";
import { address, headers, problemOf, sizeProblem, upload } from "./server.js";
import { TimelineView, byId, colourOf, percent } from "./timeline.js";

const video = byId("video"), view = new TimelineView(byId("timeline"), video);
const kinds = { json: "application/json", csv: "text/csv", srt: "application/x-subrip", vtt: "text/vtt" };
let shownFile = null, request = null, conversion = null, links = [];

export async function send(file, limits) {
  cancel();
  const problem = sizeProblem(file, limits);
  showProblem(problem);
  if (problem) return;
  const mine = request = new AbortController();
  byId("result").hidden = true;
  byId("working").hidden = false;
  showProgress(0);
  const answer = await upload("timeline?format=all", formOf(file), headers, showProgress, mine.signal);
  if (request !== mine) return; // another file was sent meanwhile
  byId("working").hidden = true;
  if (mine.signal.aborted) return;
  if (answer.status === 200) show(file, JSON.parse(answer.text)); else showProblem(problemOf(answer));
}

export const cancel = () => request?.abort();

function showProgress(part) {
  byId("stage").textContent = part < 1 ? "sending" : "analysing the frames";
  if (part < 1) byId("progress").value = part; else byId("progress").removeAttribute("value");
}

function formOf(file) {
  const form = new FormData();
  form.append("file", file);
  return form;
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
