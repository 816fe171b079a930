// The page: a video file or the webcam in, scores out; all is computed in this browser.

import { closeCamera, makeTabs, openCamera, showBars, showProblem, someOf, takeFiles, timelineOf } from "./common.js";
import { LiveView, ranked } from "./live.js";
import { pixelsOf } from "./pixels.js";
import { TimelineView, byId, colourOf, percent } from "./timeline.js";

const onTickSeconds = 1e-4; // a frame this close to a tick is on it
const longestPauseSeconds = 60; // after a longer one, as of a laptop that slept, a recording begins anew
const presentMs = 500, repeatMs = 100, mostTries = 10;
const nudgeSeconds = onTickSeconds / 100; // a seek to the very same time may present nothing
const endless = 1e9; // seconds: where a file does not say how long it is

const video = byId("video"), camera = byId("camera");
const scored = new LiveView("scored"), live = new LiveView("live"), timeline = new TimelineView(byId("timeline"), video);
const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
const calls = new Map();
let model = null, running = null; // what is analysed; another object or null ends it

worker.onmessage = ({ data: [id, result, problem] }) => {
  const { resolve, reject } = calls.get(id);
  calls.delete(id);
  if (problem === undefined) resolve(result); else reject(new Error(problem));
};
worker.onerror = (event) => showProblem(`The model cannot run in this browser (${event.message ?? "its worker does not start"}).`);

let lastCall = 0;

// Of a recording that was ended nothing more is asked: its frames must not come into another one.
const ask = (mine, ...given) => running === mine ? call(...given) : Promise.resolve({ answers: [] });

function call(method, ...given) {
  return new Promise((resolve, reject) => {
    calls.set(++lastCall, { resolve, reject });
    worker.postMessage([lastCall, method, ...given]);
  });
}

function hear(text) {
  if (byId("heard").textContent !== text) byId("heard").textContent = text;
}

// The labels that are said of scores, with them.
function saidOf(scores, isNone) {
  const [, said] = ranked(scores, model.multi_label);
  const named = said.map((index) => `${model.labels[index]} ${percent(scores[index])}`).join(", ") || "none";
  return isNone ? `none of these; the best is ${named}` : named;
}

// answers of the worker, with whether each looks like none of the labels
function judged(answers) {
  const farthest = model.none_of_these?.farthest.step;
  return farthest === undefined ? answers : answers.map((answer) => ({ ...answer, none_of_these: answer.far > farthest }));
}

// Shows the frame of a time, and gives that of the frame; null: the browser did not present it.
function presented(seconds, mine) {
  return new Promise((resolve) => {
    const begun = performance.now();
    let time = null, isSought = false, waiting;
    const end = () => { video.cancelVideoFrameCallback(waiting); resolve(time); };
    // the frame taken last may be presented once more: until another comes, it is waited for
    const settle = () => { if (isSought && time !== null && time !== mine.takenSeconds) end(); };
    const look = (_, frame) => {
      if (running !== mine) return;
      waiting = video.requestVideoFrameCallback(look);
      if (frame.presentationTime < begun) return; // an earlier one
      time = frame.mediaTime;
      settle();
    };
    waiting = video.requestVideoFrameCallback(look);
    video.onerror = () => resolve(null);
    video.onseeked = () => {
      isSought = true;
      settle();
      setTimeout(() => { if (time !== null) end(); }, repeatMs);
      setTimeout(end, presentMs);
    };
    video.currentTime = seconds;
  });
}

// The frame that is shown at a time: its pixels and its own time.
async function frameAt(seconds, mine) {
  for (let left = mostTries, nudged = seconds; left && running === mine; nudged += nudgeSeconds) {
    let time = await presented(nudged, mine);
    if (time !== null && time === mine.takenSeconds && running === mine) {
      nudged += nudgeSeconds;
      time = await presented(nudged, mine) ?? time; // to be sure
    }
    if (time !== null) {
      const frame = await pixelsOf(video);
      if (Math.abs((frame.seconds ?? time) - time) < onTickSeconds) {
        mine.takenSeconds = time;
        return { ...frame, seconds: time };
      }
    }
    if (video.error) break;
    if (!document.hidden) left--; // a hidden page is presented no frames
  }
  if (running === mine) throw new Error(`This browser shows no picture at ${seconds.toFixed(2)} s.`);
  return null;
}

// Opens a file; gives the time of the frame that is shown then.
function opened(file) {
  return new Promise((resolve, reject) => {
    const refuse = () => reject(new Error(`${file.name}: this browser cannot play it; convert it to .mp4 (H.264) or .webm.`));
    video.onloadedmetadata = () => { if (!video.videoWidth) refuse(); }; // it plays only the sound
    video.requestVideoFrameCallback((_, frame) => resolve(frame.mediaTime));
    video.onerror = refuse;
    URL.revokeObjectURL(video.src);
    video.src = URL.createObjectURL(file);
  });
}

async function analyse(file) {
  stop();
  const mine = running = {}, steps = [], begun = performance.now();
  showProblem("");
  scored.begin(model);
  for (const [id, isHidden] of Object.entries({ result: false, working: false, scored: false, timeline: true })) byId(id).hidden = isHidden;
  byId("name").textContent = file.name;
  byId("took").textContent = "";
  byId("progress").removeAttribute("value");
  video.controls = false;
  try {
    mine.takenSeconds = await opened(file);
    await ask(mine, "begin");
    const frames = await sampled(mine, (answers, part) => {
      if (running !== mine) return;
      byId("progress").value = part;
      steps.push(...judged(answers));
      if (answers.length) scored.add(judged(answers), video.currentTime);
    });
    if (running !== mine) return;
    showWhole(file, steps);
    const seconds = (performance.now() - begun) / 1000;
    byId("took").textContent = `The whole video: ${frames} frames analysed in ${seconds.toFixed(2)} s, ${(frames / seconds).toFixed(1)} frames a second (${model.engine})`;
  } catch (error) {
    if (running !== mine) return;
    showProblem(error.message);
    byId("result").hidden = true;
  }
  running = null;
  byId("working").hidden = true;
}

// Pushes the frame that is shown at each tick of the rate, from the first frame's time to the last
// frame's, and has the answers shown; gives the number of frames.
async function sampled(mine, show) {
  const last = await frameAt(Number.isFinite(video.duration) ? video.duration : endless, mine), first = await frameAt(0, mine);
  if (running !== mine) return 0;
  const rate = model.sampling.rate_fps, count = Math.floor((last.seconds - first.seconds + onTickSeconds) * rate) + 1;
  let waiting = Promise.resolve({ answers: [] }), before = null;
  for (let tick = 0; tick < count; tick++) {
    const frame = await frameAt(first.seconds + tick / rate + onTickSeconds, mine);
    if (running !== mine) return tick;
    show((await waiting).answers, tick / count); // computed while this frame was looked for
    waiting = ask(mine, "push", frame.seconds === before ? null : frame, frame.seconds);
    before = frame.seconds;
  }
  show((await waiting).answers, 1);
  show((await ask(mine, "finish")).answers, 1);
  return count;
}

function showWhole(file, steps) {
  const { so_far, so_far_far } = steps.at(-1), { labels } = model;
  const [order, said] = ranked(so_far, model.multi_label);
  const isNone = so_far_far > (model.none_of_these?.farthest.clip ?? Infinity);
  byId("scored").hidden = true;
  byId("timeline").hidden = false;
  video.controls = true;
  const none_of_these = noneStretches(steps), data = timelineOf({ labels, steps, segments: [], none_of_these }, labels[order[0]]);
  timeline.show(data);
  timeline.noSegments.hidden = true; // none are looked for
  timeline.strip.hidden = !none_of_these.length;
  byId("scored-label").textContent = saidOf(so_far, isNone);
  hear(`${file.name}: ${saidOf(so_far, isNone)}`);
  const bars = order.slice(0, Math.max(5, said.length));
  showBars(byId("scored-best"), bars.map((index) => [labels[index], so_far[index], colourOf(data.labels.indexOf(labels[index]))]));
  video.currentTime = data.times[0];
}

// From when to when the half second around each step looks like none of the labels.
function noneStretches(steps) {
  const none = model.none_of_these, farthest = none?.farthest.stretch, found = [];
  if (farthest === undefined) return found;
  let first = 0, behind = 0; // the steps around one, found in one pass: a file may have many thousands
  steps.forEach(({ pts_seconds }, index) => {
    while (pts_seconds - steps[first].pts_seconds > none.stretch_seconds / 2) first++;
    while (behind < steps.length && steps[behind].pts_seconds - pts_seconds <= none.stretch_seconds / 2) behind++;
    const near = steps.slice(first, behind);
    if (near.reduce((sum, step) => sum + step.far, 0) / near.length <= farthest) return;
    const end_seconds = steps[index + 1]?.pts_seconds ?? pts_seconds + 1 / model.sampling.rate_fps;
    if (found.at(-1)?.end_seconds === pts_seconds) found.at(-1).end_seconds = end_seconds;
    else found.push({ start_seconds: pts_seconds, end_seconds });
  });
  return found;
}

const tickOf = (begun) => Math.floor((performance.now() - begun) / 1000 * model.sampling.rate_fps);

// Pushes the webcam's picture at each tick of the clock; ticks that come while a picture is computed
// show it again.
async function follow() {
  stop();
  showProblem("");
  const mine = running = { isWebcam: true };
  try {
    if (!await openCamera(camera, () => running === mine)) return;
    byId("start").hidden = true;
    byId("stop").hidden = byId("live").hidden = false;
    while (running === mine) await record(mine);
  } catch (error) {
    if (running !== mine) return;
    stop();
    showProblem(error.message);
  }
}

async function record(mine) {
  const rate = model.sampling.rate_fps, begun = performance.now();
  live.begin(model);
  await ask(mine, "begin");
  let answered = 0, seconds = 0;
  for (let tick = 0; ; tick++) {
    await new Promise((resolve) => setTimeout(resolve, begun + 1000 * tick / rate - performance.now()));
    if (running !== mine || tickOf(begun) - tick > longestPauseSeconds * rate) return;
    const answers = [];
    for (; tick < tickOf(begun); tick++) answers.push(...(await ask(mine, "push", null, seconds)).answers);
    seconds = (performance.now() - begun) / 1000;
    const pushed = await ask(mine, "push", await pixelsOf(camera), seconds);
    if (running !== mine) return;
    answers.push(...pushed.answers);
    if (!answers.length) continue;
    answered += answers.length;
    live.add(judged(answers), seconds);
    const [, said] = ranked(answers.at(-1).scores, model.multi_label);
    hear(said.map((index) => model.labels[index]).join(", "));
    byId("live-pace").textContent = `${(answered / (performance.now() - begun) * 1000).toFixed(1)} answers a second; a frame takes ${Math.round(pushed.took_ms)} ms, so ${(1000 / pushed.took_ms).toFixed(1)} frames a second are possible (${model.engine})`;
  }
}

function stop() {
  running = null;
  closeCamera(camera);
  byId("start").hidden = false;
  byId("stop").hidden = true;
}

async function load() {
  byId("model").textContent = "Loading the model ...";
  const described = await call("load");
  model = { ...described, multi_label: described.head.multi_label, delay_steps: described.step.delay_steps };
  byId("model").textContent = someOf(model.labels);
  byId("file").disabled = byId("start").disabled = false;
}

const choose = makeTabs(() => { if (running?.isWebcam) stop(); });
takeFiles((file) => {
  if (!model) return;
  choose("file");
  analyse(file);
});
byId("cancel").addEventListener("click", () => {
  stop();
  byId("result").hidden = true;
});
byId("start").addEventListener("click", follow);
byId("stop").addEventListener("click", stop);
load().catch((error) => {
  byId("model").textContent = "";
  showProblem(error.message);
});
