// The step Videos: files come in, from this computer, the server's folders or the webcam.

import { arrange, attempt, field, make, plural, setOptions, setText } from "./dom.js";
import { openFolders } from "./folders.js";
import { mountRecorder } from "./record.js";
import { sizeProblem } from "./shared/server.js";
import { clock } from "./shared/timeline.js";

// Of files on their way, which go on while another step is shown.
const sending = make("div", { id: "sending", "aria-live": "polite" });
let queue = Promise.resolve();

const stateWords = { waiting: "waiting", extracting: "reading its frames", ready: "ready", failed: "failed" };

export function mount(element, app) {
  const first = make("section", { className: "first panel" });
  const list = makeList(app), adding = makeAdding(app), recorder = makeRecorder(app);
  const columns = make("div", { className: "videos" }, first,
    make("div", {}, adding.home, recorder.home), make("div", {}, list.home));
  element.append(make("h2", { className: "visually-hidden" }, "Videos"), columns);

  function update(project) {
    showFirst(first, app, project, recorder.open);
    list.update(project);
    adding.update(project);
  }
  update(app.project);
  const off = app.onChange(update);
  return { unmount() { off(); recorder.close(); } };
}

// What to do first, until it is done.
function showFirst(home, app, project, openRecorder) {
  const hasVideos = project.videos.length > 0, hasLabels = project.labels.length > 0;
  home.hidden = hasVideos && hasLabels;
  const state = `${hasVideos} ${hasLabels}`;
  if (home.hidden || home.dataset.state === state) return;
  home.dataset.state = state;
  const done = (isDone) => (isDone ? "Done. " : "");
  home.replaceChildren(make("h2", {}, "Teach an action in three steps"), make("ol", {},
    make("li", {}, make("strong", {}, "Name the actions"), `${done(hasLabels)}Such as wave and clap. What is none of them needs no name: it is background. `,
      make("button", { onclick: () => app.editLabels() }, hasLabels ? "Change the labels" : "Name the actions")),
    make("li", {}, make("strong", {}, "Bring videos"), `${done(hasVideos)}Record a few takes of each action with the webcam: they are labelled at once. Or drop recordings below and mark the actions in them in the step Label. `,
      make("button", { onclick: openRecorder }, "Record takes")),
    make("li", {}, make("strong", {}, "Train, watch, correct"), "Press Train, which takes seconds, and try it in the step Watch. What it gets wrong tells which takes to add. The score is of people or places that it has not seen, so bring two or more.")));
}

function makeList(app) {
  const body = make("tbody"), rows = new Map(), head = make("h2");
  const groups = make("datalist", { id: "groups" });
  const empty = make("p", { className: "dim" }, "No video yet.");
  const table = make("table", { className: "list" },
    make("thead", {}, make("tr", {}, ...["Video", "Person or place", "Length", "Marks", "State", ""].map((name) =>
      make("th", { scope: "col", className: ["Length", "Marks"].includes(name) ? "number" : "" }, name || make("span", { className: "visually-hidden" }, "What to do"))))), body);
  const scroll = make("div", { className: "scroll" }, table);
  const unreadable = make("div", { id: "unreadable" });

  function update({ videos, unreadable: problems }) {
    const said = problems.map(({ error }) => error).join("\n");
    if (unreadable.dataset.said !== said) {
      unreadable.dataset.said = said;
      unreadable.replaceChildren(...problems.map(({ error }) => make("p", { className: "problem" }, error)));
    }
    setText(head, videos.length ? plural(videos.length, "video") : "Videos");
    empty.hidden = videos.length > 0;
    scroll.hidden = !videos.length;
    setOptions(groups, [...new Set(videos.map((video) => video.group).filter(Boolean))].map((group) => [group, ""]));
    const ids = new Set(videos.map((video) => video.id));
    for (const id of rows.keys()) if (!ids.has(id)) rows.delete(id);
    for (const video of videos) {
      if (!rows.has(video.id)) rows.set(video.id, makeRow(app, video));
      rows.get(video.id).update(video);
    }
    arrange(body, videos.map(({ id }) => rows.get(id).home));
  }
  return { home: make("section", { className: "panel" }, head, groups, empty, scroll, unreadable), update };
}

// A row that is changed in place, so that what is typed and focused stays.
function makeRow(app, { id, name }) {
  const group = make("input", { list: "groups", maxLength: 80, "aria-label": `Person or place in ${name}` });
  const length = make("td", { className: "number" }), marks = make("td", { className: "number" });
  const bar = make("progress", { max: 1, "aria-label": `Reading ${name}` }), state = make("span");
  let current = null;

  group.addEventListener("change", () => attempt(app, async () => {
    await app.api.put(`api/videos/${id}`, { group: group.value.trim() });
    await app.refresh();
  }));
  group.addEventListener("blur", () => { group.value = current.group; });
  const remove = () => attempt(app, async () => {
    const what = current.num_marks ? `${name} and its ${plural(current.num_marks, "mark")}` : name;
    if (!confirm(`Remove ${what}? The file itself is kept in the project's folder .removed.`)) return;
    await app.api.delete(`api/videos/${id}`);
    await app.refresh();
  });
  const home = make("tr", { id: `video-${id}` },
    make("td", {}, make("a", { href: `#label/${id}`, title: "Label it" }, name)), make("td", {}, group), length, marks,
    make("td", { className: "state" }, bar, state),
    make("td", { className: "does" }, make("button", { onclick: remove, "aria-label": `Remove ${name}` }, "Remove")));

  function update(video) {
    current = video;
    if (document.activeElement !== group) group.value = video.group;
    setText(length, clock(video.seconds));
    setText(marks, String(video.num_marks));
    bar.hidden = !["waiting", "extracting"].includes(video.state);
    bar.value = video.progress;
    setText(state, video.state === "failed" ? video.error : video.locked_by ? `open at ${video.locked_by}` : stateWords[video.state]);
    state.title = state.textContent;
    state.className = video.state === "failed" ? "bad" : "";
  }
  return { home, update };
}

function makeAdding(app) {
  const files = make("input", { id: "file", type: "file", multiple: true, accept: "video/*,.avi,.mkv,.mpg,.ts,.gif" });
  const drop = make("label", { id: "drop", htmlFor: "file" }, files, make("strong", {}, "Choose videos"),
    make("span", { className: "dim" }, "or drop them here. They are copied into the project's folder."));
  const group = make("input", { id: "new-group", list: "groups", maxLength: 80, placeholder: "each video its own" });
  const browse = make("button", { onclick: () => openFolders(app, () => group.value.trim()) }, "From the server's folders");
  const send = (chosen) => { for (const file of chosen) sendFile(app, file, group.value.trim()); };

  files.addEventListener("change", () => { send(files.files); files.value = ""; });
  for (const name of ["dragenter", "dragover", "dragleave", "drop"])
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragenter" || name === "dragover");
      if (name === "drop") send(event.dataTransfer.files);
    });
  const home = make("section", { className: "adding panel" }, make("h2", {}, "Bring videos"), drop,
    make("div", { className: "row" }, field("Person or place in them", group), browse),
    make("p", { className: "dim hint" }, "Videos of one person or place share a name, so that the score is of people it has not seen."), sending);
  return { home, update: ({ folders }) => { browse.hidden = !folders?.length; } };
}

// One after the other: several at once would only share the line.
function sendFile(app, file, group) {
  const problem = sizeProblem(file, app.project.limits);
  if (problem) { app.notify(problem, true); return; }
  const stop = new AbortController(), bar = make("progress", { max: 1, value: 0, "aria-label": `Sending ${file.name}` });
  const row = make("div", { className: "sending" }, make("span", {}, file.name), bar, make("button", { onclick: () => stop.abort() }, "Cancel"));
  sending.append(row);
  const form = new FormData();
  form.append("file", file);
  if (group) form.append("group", group);
  const upload = async () => {
    if (stop.signal.aborted) return;
    await app.api.upload("api/videos", form, (part) => { bar.value = part; }, stop.signal);
    await app.refresh();
  };
  const say = (error) => { if (!stop.signal.aborted) app.notify(error.message, true); };
  queue = queue.then(upload).catch(say).then(() => row.remove());
}

// The recorder is opened on demand, since it asks for the webcam.
function makeRecorder(app) {
  const start = make("button", { onclick: open }, "Record takes with the webcam"), place = make("div");
  const home = make("section", { className: "panel", id: "recorder" }, make("h2", {}, "Record takes"),
    make("p", { className: "dim" }, "A take is one short clip of one action. It is labelled as soon as it is recorded."), start, place);
  let recorder = null;
  function close() {
    recorder?.unmount();
    recorder = null;
    place.replaceChildren();
    start.hidden = false;
  }
  async function open() {
    if (recorder) { place.scrollIntoView(); return; }
    start.hidden = true;
    recorder = mountRecorder(place, app, close);
    place.scrollIntoView({ block: "nearest" });
  }
  return { home, open, close };
}
