// Sends pictures one at a time, the next when the last is answered, and shows the scores.

import { closeCamera, openCamera, showProblem } from "./common.js";
import { LiveView } from "./live.js";
import { socketAddress } from "./server.js";
import { byId } from "./timeline.js";

const camera = byId("camera"), view = new LiveView("live");
const shortSide = 288, fallbackFps = 12;
let socket = null, answered = 0, begun = 0;

export async function start(model) {
  showProblem("");
  view.begin(model);
  answered = 0;
  try {
    await openCamera(camera);
  } catch (error) {
    showProblem(error.message);
    return;
  }
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
  closeCamera(camera);
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

function show(steps) {
  if (!steps.length) return;
  answered += steps.length;
  view.add(steps, socket.sentSeconds);
  const rate = answered / Math.max((performance.now() - begun) / 1000, 0.1);
  byId("live-pace").textContent = `${rate.toFixed(1)} answers a second, the last after ${Math.round(performance.now() - socket.sentAt)} ms`;
}
