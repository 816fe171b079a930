// Sends pictures one at a time, the next when the last is answered, and shows the scores.

import { closeCamera, openCamera, showProblem } from "./common.js";
import { LiveView } from "./live.js";
import { intervalOf, pictureOf } from "./pictures.js";
import { socketAddress } from "./server.js";
import { byId } from "./timeline.js";

const camera = byId("camera"), view = new LiveView("live");
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
  const interval = intervalOf(model.rate_fps);
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

async function next(mine) {
  if (socket !== mine || mine.readyState !== WebSocket.OPEN) return;
  const seconds = (performance.now() - begun) / 1000, picture = await pictureOf(camera, seconds);
  if (socket !== mine || mine.readyState !== WebSocket.OPEN || !picture) return;
  mine.sentAt = performance.now();
  mine.sentSeconds = seconds;
  mine.send(picture);
}

function show(steps) {
  if (!steps.length) return;
  answered += steps.length;
  view.add(steps, socket.sentSeconds);
  const rate = answered / Math.max((performance.now() - begun) / 1000, 0.1);
  byId("live-pace").textContent = `${rate.toFixed(1)} answers a second, the last after ${Math.round(performance.now() - socket.sentAt)} ms`;
}
