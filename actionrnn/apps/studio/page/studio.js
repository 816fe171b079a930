// The shell: what the server says of the project, the step that is shown, and messages.

import { api } from "./api.js";
import { make, plural, setText } from "./dom.js";
import { openLabels } from "./labels.js";

const steps = {
  videos: () => import("./videos.js"),
  label: () => import("./label.js"),
  train: () => import("./train.js"),
  watch: () => import("./watch.js"),
  takeaway: () => import("./takeaway.js"),
};
const pollMilliseconds = 1000, noticeMilliseconds = 6000, problemMilliseconds = 15000;
const byId = (id) => document.getElementById(id);
const listeners = new Set();
const noticed = new Set();
let isLost = false; // the server does not answer; one that was started again counts its revisions anew
let shown = { name: null, module: null, mounted: null };

const app = {
  project: null,
  api,
  get annotator() { return localStorage.getItem("annotator") ?? ""; },
  onChange(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
  notify,
  refresh: async () => take(await api.get("api/project")),
  go(hash) { location.hash = hash; },
  editLabels: () => openLabels(app),
};

function notify(text, isProblem = false) {
  const close = () => notice.remove();
  const notice = make("div", { className: isProblem ? "notice bad" : "notice" },
    make("span", {}, text), make("button", { onclick: close, "aria-label": "Close this message" }, "×"));
  for (const old of byId("notices").children) if (old.firstChild.textContent === text) old.remove();
  byId("notices").append(notice);
  setTimeout(close, isProblem ? problemMilliseconds : noticeMilliseconds);
}

// An answer that another one has overtaken is left out.
function take(project) {
  if (project.revision < app.project?.revision) return;
  app.project = project;
  setText(byId("project"), project.name);
  document.title = `${project.name} - actionrnn studio`;
  setText(byId("jobs"), sayJobs(project.jobs));
  for (const { id, text, is_problem: isProblem } of project.notices) {
    if (!noticed.has(id)) notify(text, isProblem);
    noticed.add(id);
  }
  for (const listener of [...listeners]) listener(project);
}

// "reading 2 videos; training 40 %"
function sayJobs(jobs) {
  const extracting = jobs.filter((job) => job.kind === "extract");
  const said = extracting.length ? [`reading ${plural(extracting.length, "video")}`] : [];
  for (const job of jobs) if (job.kind !== "extract") said.push(`${job.text || job.kind} ${Math.round(100 * job.progress)} %`);
  return said.join("; ");
}

async function poll() {
  try {
    const project = await api.get(`api/status?revision=${isLost ? -1 : app.project?.revision ?? -1}`);
    if (isLost) { // another server counts its own
      noticed.clear();
      app.project = null;
    }
    isLost = false;
    if (project) take(project);
    byId("problem").hidden = true;
    if (!shown.name) await route();
  } catch (error) {
    isLost = error.status === 0;
    setText(byId("problem"), isLost ? "The server does not answer. Start it again, and this page goes on where it was." : error.message);
    byId("problem").hidden = false;
  }
  setTimeout(poll, pollMilliseconds);
}

async function route() {
  if (!app.project) return; // the first answer brings it here again
  const [asked, argument = ""] = location.hash.slice(1).split("/");
  const name = asked in steps ? asked : "videos";
  for (const link of byId("steps").children) {
    if (link.hash === "#" + name) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  if (shown.name === name && shown.mounted?.show) { shown.mounted.show(argument); return; }
  shown.mounted?.unmount();
  const mine = shown = { name, mounted: null };
  byId("step").replaceChildren();
  byId("step").className = "step-" + name;
  try {
    const module = await steps[name]();
    if (shown === mine) mine.mounted = module.mount(byId("step"), app, argument);
  } catch (error) {
    if (shown !== mine) return;
    shown = { name: null, mounted: null };
    notify(`This step cannot be shown: ${error.message}`, true);
    throw error;
  }
}

byId("annotator").value = app.annotator;
byId("annotator").addEventListener("change", (event) => localStorage.setItem("annotator", event.target.value.trim()));
byId("edit-labels").addEventListener("click", () => app.editLabels());
window.addEventListener("hashchange", route);
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault()); // else a file beside the drop area replaces the page
poll();
