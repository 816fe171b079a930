// The step Take away: files for other programs, each with what it is for.

import { request } from "./api.js";
import { attempt, field, make, setOptions, setText } from "./dom.js";

const ofModel = [
  ["model", "Model file", "To recognise files, cameras and streams by the command line, by Python, or by a server of its own."],
  ["onnx", "ONNX with its runner", "To run it in another program or language, without this toolkit and without PyTorch. It takes about a minute to make."],
  ["web", "Static page", "One folder for any web server: it recognises in the visitor's browser, offline, and sends nothing. It takes about a minute to make."],
];
const ofMarks = [
  ["csv", "CSV", "All marks as a table: to count in a spreadsheet, R or pandas, and to train again."],
  ["boris", "BORIS", "Marks as state events, to go on in BORIS or its analyses of behaviour."],
  ["elan", "ELAN", "A tier for each label, to go on in ELAN with speech and gesture."],
  ["label-studio", "Label Studio", "Tasks with their regions, to check or extend them in Label Studio."],
  ["srt", "Subtitles", "Labels as subtitles, to watch them over the video in any player."],
];

async function download(app, path) {
  const reply = await request("GET", path);
  const named = /filename\*=utf-8''([^;]+)/i.exec(reply.headers.get("content-disposition") ?? "");
  const plain = /filename="?([^";]+)"?/i.exec(reply.headers.get("content-disposition") ?? "");
  const link = make("a", { href: URL.createObjectURL(await reply.blob()), download: named ? decodeURIComponent(named[1]) : plain?.[1] ?? "" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

export function mount(element, app) {
  const video = make("select", { id: "export-video" });
  const save = new Map(), stages = new Map();

  function card([kind, title, purpose], isOfMarks) {
    const button = make("button", { id: `export-${kind}`, "aria-label": `Save ${title}` }, "Save");
    const bar = make("progress", { "aria-label": `Making ${title}` }), stage = make("span", { role: "status" });
    stages.set(kind, { bar, stage });
    button.addEventListener("click", () => attempt(app, async () => {
      button.disabled = true;
      button.textContent = "Making it ...";
      try {
        await download(app, `api/export/${kind}` + (isOfMarks && video.value ? `?video=${video.value}` : ""));
      } finally {
        button.textContent = "Save";
        update(app.project);
      }
    }));
    save.set(kind, button);
    return make("section", { className: "panel" }, make("h3", {}, title), make("p", {}, purpose), make("div", { className: "actions" }, button, bar, stage));
  }

  function update({ model, videos, jobs }) {
    for (const [kind, { bar, stage }] of stages) { // how far a step is nobody knows: the bar moves without an end
      const job = jobs.find((one) => one.kind === kind);
      bar.hidden = !job;
      setText(stage, job?.text ?? "");
    }
    for (const [kind] of ofModel) if (save.get(kind).textContent === "Save") save.get(kind).disabled = !model;
    for (const [kind] of ofMarks) if (save.get(kind).textContent === "Save") save.get(kind).disabled = !videos.length;
    noModel.hidden = Boolean(model);
    setOptions(video, [["", "all videos"], ...videos.map(({ id, name }) => [id, name])]);
  }

  const noModel = make("p", {}, "There is no model yet: ", make("a", { href: "#train" }, "train one"), " first.");
  const models = ofModel.map((entry) => card(entry, false)), marks = ofMarks.map((entry) => card(entry, true));
  element.append(make("h2", {}, "The model"), noModel, make("div", { className: "cards" }, ...models),
    make("h2", { className: "second" }, "The marks"), make("div", { className: "actions choose" }, field("Of", video)), make("div", { className: "cards" }, ...marks),
    make("p", { className: "dim folder" }, "The project itself is a folder of plain files: copy it, mail it, put it under version control. ", make("code", {}, "actionrnn train FOLDER"), " trains it without this page."));
  update(app.project);
  const off = app.onChange(update);
  return { unmount: off };
}
