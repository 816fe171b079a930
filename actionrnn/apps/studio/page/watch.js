// The step Watch: the webcam or a file, live, with the events and how often each label was seen.

import { make, setText } from "./dom.js";
import { closeCamera, openCamera } from "./shared/common.js";
import { LiveView } from "./shared/live.js";
import { PictureStream } from "./shared/pictures.js";
import { clock } from "./shared/timeline.js";

const mostEvents = 200;
const otherColour = "#8b929b", loading = "Loading the model ...";

export function mount(element, app) {
  const page = makePage(element);
  const view = new LiveView("live");
  let session = null; // what is watched: {isFile, link: to the file, begun, model, stream, open: the rows of events}

  function update({ model }) {
    page.noModel.hidden = Boolean(model);
    page.live.hidden = !model;
    if (!model) return;
    page.webcam.disabled = page.choose.disabled = !model.can_stream || Boolean(session);
    setText(page.note, model.can_stream ? `The newest model: ${model.labels.join(", ")}. Small pictures are sent to this server; nothing is stored.`
      : "This model needs the whole clip, so it cannot follow; set a rate of frames and train again.");
    if (session?.stream && model.run !== session.model.run) {
      app.notify("A newer model is there; it takes over.");
      connect(session);
    }
  }

  async function start(open, isFile, link) {
    if (session) return;
    const mine = session = { isFile, link, begun: null, stream: null };
    update(app.project);
    page.stop.hidden = false;
    page.stage.classList.toggle("mirrored", !isFile);
    try {
      if (await open(() => session === mine)) connect(mine);
    } catch (error) {
      if (session === mine) end(error.message);
    }
  }

  const watchWebcam = () => start((isWanted) => openCamera(page.video, isWanted), false, null);

  function watchFile(file) {
    const link = URL.createObjectURL(file);
    start(async (isWanted) => {
      page.video.src = link;
      try {
        await page.video.play();
      } catch {
        throw new Error(`This browser cannot play ${file.name}; add it in the step Videos, and see what is recognised in the step Label.`);
      }
      page.video.pause(); // until the model is loaded
      page.video.currentTime = 0;
      return isWanted();
    }, true, link);
  }

  // Also anew, to a newer model, while the video goes on.
  function connect(mine) {
    const { model, labels } = app.project, { score_labels: names } = model;
    mine.stream?.close();
    Object.assign(mine, { model, open: new Map() });
    view.begin({ ...model, labels: names, colours: names.map((one) => labels.find(({ name }) => name === one)?.colour ?? otherColour) });
    setText(page.said, loading);
    page.events.replaceChildren();
    mine.stream = new PictureStream(app.api.socket("api/watch"), page.video, model.rate_fps, () => secondsOf(mine), {
      opened: () => {
        mine.begun ??= performance.now();
        if (mine.isFile) page.video.play().catch(() => {});
      },
      answered: (answer) => show(mine, answer),
      problem: (text) => app.notify(text, true),
      ended: end,
    });
  }

  function secondsOf(mine) {
    if (!mine.isFile) return (performance.now() - mine.begun) / 1000;
    return page.video.ended ? null : page.video.currentTime;
  }

  function end(problem) {
    if (problem) app.notify(problem, true);
    stop();
  }

  function stop() {
    const mine = session;
    session = null;
    if (!mine) return;
    mine.stream?.close();
    page.video.pause();
    closeCamera(page.video);
    if (mine.link) {
      page.video.removeAttribute("src");
      page.video.load();
      URL.revokeObjectURL(mine.link);
    }
    page.stop.hidden = true;
    if (page.said.textContent === loading) setText(page.said, "\u00a0");
    update(app.project);
  }

  function show(mine, { steps, events = [], counts }) {
    if (counts) showCounts(counts);
    showEvents(mine, events);
    if (!steps.length) return;
    view.add(steps, mine.stream.sentSeconds);
    setText(page.pace, mine.stream.pace);
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
