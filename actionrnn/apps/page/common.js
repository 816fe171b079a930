// What the server's page and that of an exported model share: tabs, messages, bars, the webcam.

import { byId, colourOf, element, maxCurves, percent } from "./timeline.js";

export function showProblem(problem) {
  byId("problem").textContent = problem;
  byId("problem").hidden = !problem;
}

export function showBars(target, rows) {
  target.replaceChildren();
  for (const [label, score, colour] of rows) {
    const track = element("div", undefined, "track"), fill = element("div", undefined, "fill");
    fill.style.width = 100 * score + "%";
    fill.style.setProperty("--colour", colour);
    track.append(fill);
    target.append(element("div", label, "label"), track, element("div", percent(score), "score"));
  }
}

// The background is none of the actions.
export function someOf(allLabels) {
  const labels = allLabels.filter((label) => label !== "background");
  return `${labels.length} actions: ${labels.slice(0, 6).join(", ")}${labels.length > 6 ? ", ..." : ""}`;
}

// The panels "file" and "webcam"; `left` is called when the webcam is left.
export function makeTabs(left) {
  const choose = (name) => {
    for (const panel of ["file", "webcam"]) {
      byId(panel + "-panel").hidden = panel !== name;
      byId(panel + "-tab").setAttribute("aria-selected", String(panel === name));
    }
    if (name !== "webcam") left();
    showProblem("");
  };
  for (const name of ["file", "webcam"]) byId(name + "-tab").addEventListener("click", () => choose(name));
  return choose;
}

// Calls `take` with a file that was chosen, or dropped anywhere.
export function takeFiles(take) {
  byId("file").addEventListener("change", (event) => {
    if (event.target.files.length) take(event.target.files[0]);
    event.target.value = "";
  });
  for (const name of ["dragenter", "dragover", "dragleave", "drop"])
    window.addEventListener(name, (event) => {
      event.preventDefault();
      byId("drop").classList.toggle("over", name === "dragenter" || name === "dragover");
      if (name === "drop" && event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
    });
}

// The webcam's picture in a video element; false if `isWanted()` says no once somebody has allowed it.
// An Error's message can be shown.
export async function openCamera(video, isWanted) {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 } }, audio: false });
  } catch (error) {
    throw new Error(`The webcam cannot be used (${error.name}); allow it in the browser. On another machine, browsers ask for https.`);
  }
  if (!isWanted()) { end(stream); return false; }
  video.srcObject = stream;
  await video.play();
  return isWanted();
}

export function closeCamera(video) {
  end(video.srcObject);
  video.srcObject = null;
}

function end(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

// What `TimelineView.show` takes, of `labels`, `steps` and `segments`: curves for the labels of the
// answer and the segments, then for those with the highest peaks.
export function timelineOf(found, answer) {
  const order = found.labels.map((_, index) => index);
  const peaks = order.map((index) => found.steps.reduce((peak, step) => Math.max(peak, step.scores[index]), 0));
  const answers = new Set([answer, ...found.segments.map((part) => part.label)]);
  const isAnswer = found.labels.map((label) => answers.has(label));
  order.sort((a, b) => isAnswer[b] - isAnswer[a] || peaks[b] - peaks[a]);
  const shown = order.slice(0, maxCurves);
  return {
    labels: shown.map((index) => found.labels[index]),
    curves: shown.map((index) => found.steps.map((step) => step.scores[index])),
    start_seconds: found.start_seconds,
    times: found.steps.map((step) => step.pts_seconds),
    segments: found.segments,
    none_of_these: found.none_of_these,
  };
}
