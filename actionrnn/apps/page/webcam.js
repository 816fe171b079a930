// The webcam's pictures go to the server, and their scores are shown.

import { closeCamera, openCamera, showProblem } from "./common.js";
import { LiveView } from "./live.js";
import { PictureStream } from "./pictures.js";
import { socketAddress } from "./server.js";
import { byId } from "./timeline.js";

const camera = byId("camera"), view = new LiveView("live");
let running = null; // {stream}; another object or null ends it

export async function start(model) {
  stop();
  showProblem("");
  view.begin(model);
  const mine = running = { stream: null };
  try {
    if (!await openCamera(camera, () => running === mine)) return;
  } catch (error) {
    if (running === mine) end(error.message);
    return;
  }
  const begun = performance.now(), secondsNow = () => (performance.now() - begun) / 1000;
  mine.stream = new PictureStream(new WebSocket(socketAddress("stream")), camera, model.rate_fps, secondsNow, {
    opened: () => setRunning(true),
    answered: ({ steps }) => show(steps, mine.stream),
    problem: showProblem,
    ended: end,
  });
}

export function stop() {
  running?.stream?.close();
  running = null;
  closeCamera(camera);
  setRunning(false);
}

function end(problem) {
  stop();
  if (problem) showProblem(problem);
}

function setRunning(isRunning) {
  byId("start").hidden = isRunning;
  byId("stop").hidden = !isRunning;
  if (isRunning) byId("live").hidden = false;
}

function show(steps, stream) {
  if (!steps.length) return;
  view.add(steps, stream.sentSeconds);
  byId("live-pace").textContent = stream.pace;
}
