// Sends pictures one at a time, the next when the last is answered, and shows the scores.

import { showBars, showProblem, socketAddress } from "./common.js";
import { byId, colourOf, drawCurves, maxCurves, percent, showLegend } from "./timeline.js";

const camera = byId("camera"), canvas = byId("live-curves");
const shortSide = 288, windowSeconds = 60, fallbackFps = 12;
let socket = null, media = null, labels = [], isLate = false, isMultiLabel = false, steps = [], shown = [], answered = 0, begun = 0;

export async function start(model) {
  showProblem("");
  labels = model.labels;
  isLate = model.delay_steps > 0;
  isMultiLabel = model.multi_label;
  steps = []; shown = []; answered = 0;
  try {
    media = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 } }, audio: false });
  } catch (error) {
    showProblem(`The webcam cannot be used (${error.name}); allow it in the browser. On another machine, browsers ask for https.`);
    return;
  }
  camera.srcObject = media;
  await camera.play();
  begun = performance.now();
  // twice as often as the model samples, so that each sample is a fresh picture
  const interval = 1000 / Math.min(2 * (model.rate_fps || fallbackFps), 25);
  const mine = new WebSocket(socketAddress("stream"));
  socket = mine;
  mine.onopen = () => { setRunning(true); next(mine); };
  mine.onmessage = (event) => {
    const answer = JSON.parse(event.data);
    if (answer.error) { showProblem(answer.error); return; }
    show(answer.steps);
    setTimeout(() => next(mine), interval - (performance.now() - mine.sentAt));
  };
  mine.onclose = (event) => {
    if (socket !== mine) return;
    if (event.reason) showProblem(event.reason);
    else if (event.code === 1006) showProblem("The server has ended the connection; is it still running?");
    stop();
  };
}

export function stop() {
  const old = socket;
  socket = null;
  if (old) old.close();
  if (media) for (const track of media.getTracks()) track.stop();
  media = null;
  camera.srcObject = null;
  setRunning(false);
}

function setRunning(isRunning) {
  byId("start").hidden = isRunning;
  byId("stop").hidden = !isRunning;
  if (isRunning) byId("live").hidden = false;
}

function next(mine) {
  if (socket !== mine || mine.readyState !== WebSocket.OPEN) return;
  const small = document.createElement("canvas");
  const scale = Math.min(1, shortSide / Math.min(camera.videoWidth, camera.videoHeight));
  small.width = Math.max(1, Math.round(camera.videoWidth * scale));
  small.height = Math.max(1, Math.round(camera.videoHeight * scale));
  small.getContext("2d").drawImage(camera, 0, 0, small.width, small.height);
  const seconds = (performance.now() - begun) / 1000;
  small.toBlob(async (blob) => {
    if (socket !== mine || mine.readyState !== WebSocket.OPEN || !blob) return;
    const time = new DataView(new ArrayBuffer(8));
    time.setFloat64(0, seconds, true);
    mine.sentAt = performance.now();
    mine.sentSeconds = seconds;
    mine.send(new Blob([time.buffer, blob]));
  }, "image/jpeg", 0.85);
}

function show(newSteps) {
  if (!newSteps.length) return;
  answered += newSteps.length;
  steps.push(...newSteps);
  const now = steps[steps.length - 1];
  while (steps[0].pts_seconds < now.pts_seconds - windowSeconds) steps.shift();
  const order = now.scores.map((_, index) => index).sort((a, b) => now.scores[b] - now.scores[a]);
  // of a model that may say several labels, those that are on; else the best alone
  const isOn = order.filter((index, place) => isMultiLabel ? now.scores[index] >= 0.5 : place === 0);
  for (const index of order.slice(0, Math.max(3, isOn.length))) if (!shown.includes(index) && shown.length < maxCurves) shown.push(index);
  showLegend(byId("live-legend"), shown.map((index) => labels[index]));
  const age = isLate ? `, ${(socket.sentSeconds - now.pts_seconds).toFixed(1)} s ago` : "";
  const said = isOn.map((index) => `${labels[index]} ${percent(now.scores[index])}`).join(", ");
  byId("live-label").textContent = (now.none_of_these ? "none of these?   " : "") + (said || "none") + age;
  const bars = order.slice(0, Math.max(5, isOn.length)).map((index) => [labels[index], now.scores[index], colourOf(shown.indexOf(index))]);
  showBars(byId("live-best"), bars);
  const rate = answered / Math.max((performance.now() - begun) / 1000, 0.1);
  byId("live-pace").textContent = `${rate.toFixed(1)} answers a second, the last after ${Math.round(performance.now() - socket.sentAt)} ms`;
  draw();
}

function draw() {
  if (!steps.length || !canvas.clientWidth) return;
  const last = Math.max(steps[steps.length - 1].pts_seconds, 10), first = Math.max(0, last - windowSeconds);
  const curves = shown.map((index) => steps.map((step) => step.scores[index]));
  drawCurves(canvas, { times: steps.map((step) => step.pts_seconds), curves }, first, last);
}

new ResizeObserver(draw).observe(canvas);
