// The step Watch: the webcam or a file, live, with the events and how often each label was seen.

import { make, setText } from "./dom.js";
import { closeCamera, openCamera } from "./shared/common.js";
import { LiveView } from "./shared/live.js";
import { intervalOf, pictureOf } from "./shared/pictures.js";
import { clock } from "./shared/timeline.js";

const mostEvents = 200, stillMilliseconds = 40;
const otherColour = "#8b929b";

export function mount(element, app) {
  const page = makePage(element);
  const view = new LiveView("live");
  let session = null; // what is watched: {begun, isFile, link, model, socket, ...}

  function update({ model }) {
    page.noModel.hidden = Boolean(model);
    page.live.hidden = !model;
    if (!model) return;
    page.webcam.disabled = page.choose.disabled = !model.can_stream || Boolean(session);
    setText(page.note, model.can_stream ? `The newest model: ${model.labels.join(", ")}. Small pictures are sent to this server; nothing is stored.`
      : "This model needs the whole clip, so it cannot follow; set a rate of frames and train again.");
    if (session?.socket && model.run !== session.model.run) {
      app.notify("A newer model is there; it takes over.");
      connect(session);
    }
  }

  async function start(open, isFile, link) {
    if (session) return;
    const mine = session = { begun: null, isFile, link, socket: null };
    update(app.project);
    page.stop.hidden = false;
    page.stage.classList.toggle("mirrored", !isFile);
    try {
      await open();
    } catch (error) {
      if (session === mine) { app.notify(error.message, true); stop(); }
      return;
    }
    if (session === mine) connect(mine); else closeCamera(page.video);
  }

  const watchWebcam = () => start(() => openCamera(page.video), false, null);

  function watchFile(file) {
    const link = URL.createObjectURL(file);
    start(async () => {
      page.video.src = link;
      try {
        await page.video.play();
      } catch {
        throw new Error(`This browser cannot play ${file.name}; add it in the step Videos, and see what is recognised in the step Label.`);
      }
      page.video.pause(); // until the model is loaded
      page.video.currentTime = 0;
    }, true, link);
  }

  function connect(mine) {
    const { model } = app.project;
    Object.assign(mine, { model, answered: 0, open: new Map(), sentSeconds: -1 });
    const { score_labels: labels } = model;
    const colours = labels.map((label) => app.project.labels.find(({ name }) => name === label)?.colour ?? otherColour);
    view.begin({ ...model, labels, colours });
    setText(page.said, "Loading the model ...");
    page.events.replaceChildren();
    const old = mine.socket, socket = mine.socket = app.api.socket("api/watch");
    old?.close();
    socket.onopen = () => {
      mine.begun ??= performance.now();
      mine.connected = performance.now();
      if (mine.isFile) page.video.play().catch(() => {});
      send(mine, socket);
    };
    socket.onmessage = ({ data }) => {
      if (mine.socket !== socket) return;
      const answer = JSON.parse(data);
      if (answer.error) { app.notify(answer.error, true); return; }
      show(mine, answer);
      setTimeout(() => send(mine, socket), intervalOf(model.rate_fps) - (performance.now() - mine.sentAt));
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
    page.video.pause();
    closeCamera(page.video);
    if (mine.link) {
      page.video.removeAttribute("src");
      page.video.load();
      URL.revokeObjectURL(mine.link);
    }
    page.stop.hidden = true;
    if (mine.socket && !mine.answered) setText(page.said, "\u00a0");
    update(app.project);
  }

  async function send(mine, socket) {
    const isOver = () => mine.socket !== socket || session !== mine || socket.readyState !== WebSocket.OPEN;
    if (isOver()) return;
    if (mine.isFile && page.video.ended) { stop(); return; }
    const seconds = mine.isFile ? page.video.currentTime : (performance.now() - mine.begun) / 1000;
    if (seconds <= mine.sentSeconds) { setTimeout(() => send(mine, socket), stillMilliseconds); return; } // it stands still
    const picture = await pictureOf(page.video, seconds);
    if (isOver() || !picture) return;
    mine.sentAt = performance.now();
    mine.sentSeconds = seconds;
    socket.send(picture);
  }

  function show(mine, { steps, events = [], counts }) {
    if (counts) showCounts(counts);
    showEvents(mine, events);
    if (!steps.length) return;
    mine.answered += steps.length;
    view.add(steps, mine.sentSeconds);
    const rate = mine.answered / Math.max((performance.now() - mine.connected) / 1000, 0.1);
    setText(page.pace, `${rate.toFixed(1)} answers a second, the last after ${Math.round(performance.now() - mine.sentAt)} ms`);
  }

  function showCounts(found) {
    const said = JSON.stringify(found);
    if (page.counts.dataset.said === said) return;
    page.counts.dataset.said = said;
    page.counts.replaceChildren(...Object.entries(found).map(([label, count]) => make("li", {}, `${label} `, make("strong", {}, String(count)))));
  }

  // An event is said when it begins, and again with its end; the newest is on top.
  function showEvents(mine, found) {
    for (const { label, start: begin, end } of found) {
      const row = mine.open.get(label) ?? addEvent(label, begin);
      if (Number.isFinite(end)) { setText(row.children[1], clock(end)); mine.open.delete(label); } else mine.open.set(label, row);
    }
  }

  function addEvent(label, begin) {
    const row = make("tr", {}, make("td", {}, clock(begin)), make("td", {}, "..."), make("td", {}, label));
    page.events.prepend(row);
    if (page.events.children.length > mostEvents) page.events.lastChild.remove();
    return row;
  }

  page.webcam.addEventListener("click", watchWebcam);
  page.file.addEventListener("change", () => {
    if (page.file.files.length) watchFile(page.file.files[0]);
    page.file.value = "";
  });
  page.stop.addEventListener("click", stop);
  update(app.project);
  const off = app.onChange(update);
  return { unmount() { off(); stop(); } };
}

function makePage(element) {
  const video = make("video", { id: "watched", muted: true, playsInline: true, "aria-label": "What is watched" });
  const stage = make("div", { className: "stage" }, video);
  const webcam = make("button", { id: "watch-webcam", className: "main" }, "Start the webcam");
  const file = make("input", { id: "watch-file", type: "file", accept: "video/*,.avi,.mkv,.mpg,.ts", hidden: true, "aria-label": "A video file" });
  const choose = make("button", { onclick: () => file.click() }, "Choose a file");
  const stop = make("button", { id: "watch-stop", hidden: true }, "Stop");
  const said = make("p", { id: "live-label", className: "said", "aria-live": "polite" }, "\u00a0");
  const pace = make("p", { className: "dim" }, "\u00a0"), note = make("p", { className: "dim" });
  const counts = make("ul", { id: "counts", className: "counts", "aria-label": "How often" });
  const events = make("tbody", { id: "events" });
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...["from", "to", "action"].map((name) => make("th", { scope: "col" }, name)))), events);
  const right = make("div", {}, said, make("div", { id: "live-best", className: "bars" }), pace, make("h3", {}, "Counted"), counts,
    make("div", { className: "events scroll", tabIndex: 0, role: "region", "aria-label": "Events" }, table));
  const live = make("div", {}, note, make("div", { className: "row" }, webcam, choose, file, stop),
    make("div", { className: "columns" }, stage, right),
    make("canvas", { id: "live-curves", className: "curves", role: "img", "aria-label": "Scores of the last minute" }),
    make("div", { id: "live-legend", className: "legend" }));
  const noModel = make("p", {}, "There is no model yet: ", make("a", { href: "#train" }, "train one"), " first.");
  element.append(make("h2", { className: "visually-hidden" }, "Watch"), noModel, live);
  return { video, stage, webcam, file, choose, stop, said, pace, note, counts, events, live, noModel };
}
