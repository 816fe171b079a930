// The step Watch: the webcam or a file, live. Pictures go to the server one at a time, the next
// when the last is answered.

import { make, setText } from "./dom.js";
import { closeCamera, openCamera } from "./record.js";
import { showBars } from "./shared/common.js";
import { clock, drawCurves, maxCurves, percent, showLegend } from "./shared/timeline.js";

const shortSide = 288, windowSeconds = 60, fallbackFps = 12, mostFps = 25, mostEvents = 200;

export function mount(element, app) {
  const video = make("video", { id: "watched", muted: true, playsInline: true, "aria-label": "What is watched" });
  const stage = make("div", { className: "stage" }, video);
  const webcam = make("button", { id: "watch-webcam", className: "main" }, "Start the webcam");
  const file = make("input", { id: "watch-file", type: "file", accept: "video/*,.avi,.mkv,.mpg,.ts", className: "visually-hidden" });
  const choose = make("button", { onclick: () => file.click() }, "Choose a file");
  const stopped = make("button", { id: "watch-stop", hidden: true }, "Stop");
  const said = make("p", { id: "said", className: "said", "aria-live": "polite" }, "\u00a0");
  const bars = make("div", { id: "bars", className: "bars" }), pace = make("p", { className: "dim pace" }, "\u00a0");
  const counts = make("ul", { id: "counts", className: "counts", "aria-label": "How often" });
  const events = make("tbody", { id: "events" });
  const canvas = make("canvas", { className: "curves", role: "img", "aria-label": "Scores of the last minute" });
  const legend = make("div", { className: "legend" }), note = make("p", { id: "watch-note", className: "dim" });
  const noModel = make("p", {}, "There is no model yet: ", make("a", { href: "#train" }, "train one"), " first.");
  file.setAttribute("aria-label", "A video file");
  element.append(make("h2", { className: "visually-hidden" }, "Watch"), noModel);
  const live = make("div", {}, note, make("div", { className: "row" }, webcam, choose, file, stopped),
    make("div", { className: "columns" }, stage, make("div", {}, said, bars, pace,
      make("h3", {}, "Counted"), counts,
      make("div", { className: "events scroll", tabIndex: 0, role: "region", "aria-label": "Events" }, make("table", {},
        make("thead", {}, make("tr", {}, ...["from", "to", "action"].map((name) => make("th", { scope: "col" }, name)))), events)))),
    canvas, legend);
  element.append(live);

  let session = null;

  function update({ model }) {
    const canWatch = Boolean(model?.can_stream);
    webcam.disabled = choose.disabled = !canWatch || Boolean(session);
    noModel.hidden = Boolean(model);
    live.hidden = !model;
    if (!model) return;
    setText(note, canWatch ? `The newest model: ${model.labels.join(", ")}. Small pictures are sent to this server; nothing is stored.`
      : "This model needs the whole clip, so it cannot follow; set a rate of frames and train again.");
    if (session?.socket && model.run !== session.run) {
      app.notify("A newer model is there; it takes over.");
      connect(session);
    }
  }

  async function start(open) {
    if (session) return;
    const mine = session = { socket: null, media: null, link: null, begun: null };
    update(app.project);
    events.replaceChildren();
    if (!await open(mine)) { if (session === mine) stop(); return; }
    if (session !== mine) { closeCamera(mine.media); return; }
    stopped.hidden = false;
    connect(mine);
  }

  const fromWebcam = async (mine) => {
    mine.media = await openCamera(app, video);
    mine.now = () => (performance.now() - mine.begun) / 1000;
    return mine.media;
  };
  const fromFile = (chosen) => async (mine) => {
    mine.link = URL.createObjectURL(chosen);
    mine.now = () => video.currentTime;
    mine.isFile = true;
    video.srcObject = null;
    video.src = mine.link;
    try {
      await video.play();
      video.pause(); // until the model is loaded
      video.currentTime = 0;
      return true;
    } catch {
      app.notify(`This browser cannot play ${chosen.name}; add it in the step Videos, and see what is recognised in the step Label.`, true);
      return false;
    }
  };

  function connect(mine) {
    const { model } = app.project;
    mine.run = model.run;
    mine.model = model;
    mine.labels = model.score_labels;
    Object.assign(mine, { steps: [], shown: [], answered: 0, open: new Map(), answering: performance.now() });
    const old = mine.socket, socket = mine.socket = app.api.socket("api/watch");
    old?.close();
    // twice as often as the model samples, so that each sample is a fresh picture
    const interval = 1000 / Math.min(2 * (model.rate_fps || fallbackFps), mostFps);
    setText(said, "Loading the model ...");
    socket.onopen = () => { mine.begun ??= performance.now(); if (mine.isFile) video.play().catch(() => {}); send(mine, socket); };
    socket.onmessage = ({ data }) => {
      if (mine.socket !== socket) return;
      const answer = JSON.parse(data);
      if (answer.error) { app.notify(answer.error, true); return; }
      show(mine, answer);
      setTimeout(() => send(mine, socket), interval - (performance.now() - mine.sentAt));
    };
    socket.onclose = ({ reason, code }) => {
      if (session !== mine || mine.socket !== socket) return;
      if (reason) app.notify(reason, true);
      else if (code === 1006) app.notify("The server has ended the connection; is it still running?", true);
      stop();
    };
  }

  function stop() {
    const mine = session;
    session = null;
    if (!mine) return;
    mine.socket?.close();
    closeCamera(mine.media);
    video.pause();
    video.srcObject = null;
    if (mine.link) { video.removeAttribute("src"); video.load(); URL.revokeObjectURL(mine.link); }
    stopped.hidden = true;
    if (!mine.answered) setText(said, "\u00a0");
    update(app.project);
  }

  function send(mine, socket) {
    if (session !== mine || mine.socket !== socket || socket.readyState !== WebSocket.OPEN) return;
    if (mine.isFile && video.ended) { stop(); return; }
    const seconds = mine.now();
    // a paused or sought file: its clock may stand still or go back, the stream's may not
    if (mine.isFile && seconds <= (mine.sentSeconds ?? -1)) { setTimeout(() => send(mine, socket), 40); return; }
    const small = document.createElement("canvas");
    const scale = Math.min(1, shortSide / Math.min(video.videoWidth, video.videoHeight));
    small.width = Math.max(1, Math.round(video.videoWidth * scale));
    small.height = Math.max(1, Math.round(video.videoHeight * scale));
    small.getContext("2d").drawImage(video, 0, 0, small.width, small.height);
    small.toBlob((blob) => {
      if (mine.socket !== socket || socket.readyState !== WebSocket.OPEN || !blob) return;
      const time = new DataView(new ArrayBuffer(8));
      time.setFloat64(0, seconds, true);
      mine.sentAt = performance.now();
      mine.sentSeconds = seconds;
      socket.send(new Blob([time.buffer, blob]));
    }, "image/jpeg", 0.85);
  }

  const colourOf = (label) => app.project.labels.find(({ name }) => name === label)?.colour ?? "#8b929b";

  function show(mine, answer) {
    showCounts(answer.counts ?? {});
    showEvents(mine, answer.events ?? []);
    if (!answer.steps.length) return;
    const { steps, labels, shown } = mine, isMultiLabel = mine.model.multi_label;
    mine.answered += answer.steps.length;
    steps.push(...answer.steps);
    const now = steps.at(-1);
    while (steps[0].pts_seconds < now.pts_seconds - windowSeconds) steps.shift();
    const order = now.scores.map((_, index) => index).sort((a, b) => now.scores[b] - now.scores[a]);
    // of a model that may say several labels, those that are on; else the best alone
    const isOn = order.filter((index, place) => (isMultiLabel ? now.scores[index] >= 0.5 : place === 0));
    for (const index of order.slice(0, Math.max(3, isOn.length))) if (!shown.includes(index) && shown.length < maxCurves) shown.push(index);
    const age = mine.model.delay_steps > 0 ? `, ${(mine.sentSeconds - now.pts_seconds).toFixed(1)} s ago` : "";
    const best = isOn.map((index) => `${labels[index]} ${percent(now.scores[index])}`).join(", ") || "none";
    setText(said, now.none_of_these ? `none of these (nearest: ${best})${age}` : best + age);
    showBars(bars, order.slice(0, Math.max(5, isOn.length)).map((index) => [labels[index], now.scores[index], colourOf(labels[index])]));
    const rate = mine.answered / Math.max((performance.now() - mine.answering) / 1000, 0.1);
    setText(pace, `${rate.toFixed(1)} answers a second, the last after ${Math.round(performance.now() - mine.sentAt)} ms`);
    draw(mine);
  }

  function showCounts(found) {
    const said = JSON.stringify(found);
    if (counts.dataset.said === said) return;
    counts.dataset.said = said;
    counts.replaceChildren(...Object.entries(found).map(([label, count]) => make("li", {}, `${label} `, make("strong", {}, String(count)))));
  }

  // An event is said when it begins, and again with its end; the newest is on top.
  function showEvents(mine, found) {
    for (const { label, start, end } of found) {
      const isEnd = Number.isFinite(end), row = mine.open.get(label) ?? addEvent(label, start);
      if (isEnd) { setText(row.children[1], clock(end)); mine.open.delete(label); } else mine.open.set(label, row);
    }
  }

  function addEvent(label, start) {
    const row = make("tr", {}, make("td", {}, clock(start)), make("td", {}, "..."), make("td", {}, label));
    events.prepend(row);
    if (events.children.length > mostEvents) events.lastChild.remove();
    return row;
  }

  function draw(mine) {
    if (!mine?.steps?.length || !canvas.clientWidth) return;
    const { steps, shown, labels } = mine;
    const last = Math.max(steps.at(-1).pts_seconds, 10), first = Math.max(0, last - windowSeconds);
    const named = shown.map((index) => labels[index]), colours = named.map(colourOf);
    drawCurves(canvas, { times: steps.map((step) => step.pts_seconds), curves: shown.map((index) => steps.map((step) => step.scores[index])), colours }, first, last);
    showLegend(legend, named, colours);
  }

  webcam.addEventListener("click", () => start(fromWebcam));
  file.addEventListener("change", () => { if (file.files.length) start(fromFile(file.files[0])); file.value = ""; });
  stopped.addEventListener("click", stop);
  const resized = new ResizeObserver(() => draw(session));
  resized.observe(canvas);
  update(app.project);
  const off = app.onChange(update);
  return { unmount() { off(); stop(); resized.disconnect(); } };
}
