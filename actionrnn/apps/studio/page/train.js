// The step Train: one button, and what is known of the model, which comes in while one works.

import { attempt, field, make, plural, setOptions, setText } from "./dom.js";
import { hasInterval, learningCurve, saidCurve, scoreScale } from "./plot.js";
import { clock, percent } from "./shared/timeline.js";

const rates = [1, 2, 4, 8, 12, 25];
const modalities = { rgb: "pictures", both: "pictures and their changes", rgb_diff: "the pictures' changes alone" };
const isTraining = (job) => job.kind === "train";
const isScoring = (job) => job.kind === "score";

export function mount(element, app) {
  const train = make("button", { id: "train", className: "main" }, "Train");
  const stop = make("button", { id: "stop-training", hidden: true }, "Stop");
  const bar = make("progress", { max: 1, "aria-label": "Training" }), stage = make("span", { role: "status" });
  const model = make("p", { id: "model-said" }), settings = makeSettings(app);
  const trainer = make("section", { className: "trainer panel" }, make("h2", {}, "Train"),
    make("p", {}, "It learns from all marks. What nobody has looked at counts as nothing, not as background."),
    make("div", { className: "actions" }, train, stop), make("div", { className: "progress" }, bar, stage), model, settings.home);
  const scores = make("div", { id: "scores", className: "train" });
  element.append(trainer, scores);
  let isOpen = true, asked = null, shown = "";

  function update(project) {
    const job = project.jobs.find(isTraining) ?? project.jobs.find(isScoring);
    const training = project.jobs.some(isTraining);
    train.disabled = training || !project.videos.length;
    stop.hidden = !job;
    bar.hidden = !job;
    if (job) bar.value = job.progress;
    const reading = project.videos.filter((video) => ["waiting", "extracting"].includes(video.state)).length;
    setText(stage, job ? sayJob(job) : reading ? `${plural(reading, "video")} still being read; it learns from the others.` : "");
    setText(train, project.model ? "Train again" : "Train");
    setText(model, sayModel(project));
    settings.update(project);
    // scores come in during the job and are whole at its end
    const state = `${project.model?.run} ${project.jobs.filter(isScoring).map((scoring) => scoring.progress)} ${Boolean(job)}`;
    if (state !== asked) load(state);
  }

  async function load(state) {
    asked = state;
    try {
      const found = await app.api.get("api/scores");
      if (!isOpen || asked !== state || shown === JSON.stringify(found)) return;
      shown = JSON.stringify(found);
      scores.replaceChildren(...(found ? showScores(found) : []));
    } catch (error) {
      if (asked === state) asked = null; // with the project's next change
      if (error.status !== 404) app.notify(error.message, true);
    }
  }

  train.addEventListener("click", () => attempt(app, async () => {
    train.disabled = true;
    try {
      await app.api.post("api/train");
    } finally {
      await app.refresh();
    }
  }));
  stop.addEventListener("click", () => attempt(app, async () => {
    await app.api.delete("api/train");
    await app.refresh();
  }));
  update(app.project);
  const off = app.onChange(update);
  return { unmount() { isOpen = false; off(); } };
}

// With either of them changed all videos are read anew.
function makeSettings(app) {
  const rate = make("select", { id: "rate" });
  const modality = make("select", { id: "modality" }, ...Object.entries(modalities).map(([value, text]) => make("option", { value }, text)));
  const put = (settings) => attempt(app, async () => {
    try {
      await app.api.put("api/settings", settings);
      app.notify("All videos are read anew; train again when they are ready.");
    } finally {
      await app.refresh();
    }
  });
  rate.addEventListener("change", () => put({ rate_fps: Number(rate.value) }));
  modality.addEventListener("change", () => put({ modality: modality.value }));

  function update({ settings }) {
    const all = [...new Set([...rates, settings.rate_fps])].sort((a, b) => a - b);
    setOptions(rate, all.map((value) => [value, `${value} a second`]));
    rate.value = String(settings.rate_fps);
    modality.value = settings.modality;
  }
  const home = make("details", { id: "settings" }, make("summary", {}, "Settings"), make("div", { className: "actions" }, field("Pictures", rate), field("It looks at", modality)),
    make("p", { className: "dim" }, "Changes tell actions apart that look alike in a single picture, such as opening and closing. More pictures a second follow faster actions, and take longer to read."));
  return { home, update };
}

const sayJob = (job) => job.text || (isTraining(job) ? "training" : "scoring: each recording is left out once");

function sayModel({ model, videos }) {
  if (model) {
    const when = new Date(typeof model.trained_at === "number" ? 1000 * model.trained_at : model.trained_at);
    return `The model knows ${model.labels.join(", ")}. It was trained on ${when.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" })} in ${model.seconds.toFixed(1)} s.`;
  }
  return videos.length ? "No model yet." : "Bring videos first.";
}

const isKnown = Number.isFinite;
const percentOr = (part) => (isKnown(part) ? percent(part) : "-");
const showScores = (found) => [showFigure(found), showCurve(found), showConfusion(found), showHarmful(found)].filter(Boolean);

const panel = (title, ...children) => make("section", { className: "panel" }, make("h2", {}, title), ...children.filter(Boolean));
// Wider than a phone; the arrow keys scroll it once it has the focus.
const scrolling = (name, table) => make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": name }, table);
const headRow = (names) => make("thead", {}, make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name))));

function showFigure({ steps, why_not: whyNot, per_label: perLabel, notes, complete }) {
  const more = complete ? null : make("p", { className: "dim" }, "More is being worked out; go on meanwhile.");
  const noted = notes.map((note) => make("p", { className: "dim" }, note));
  if (!steps) return panel("How good is it?", make("p", {}, whyNot ? `No score: ${whyNot}.` : "Not known yet."), ...noted, more);
  const { value, low, high, baseline, num_recordings: count, unit, f1_at_50: f1, f1_at_50_low: f1Low, f1_at_50_high: f1High } = steps;
  const interval = hasInterval(steps) ? `With other recordings of this kind: ${percent(low)} to ${percent(high)} (95 % interval).` : "Too few recordings for an interval.";
  const f1Interval = hasInterval({ low: f1Low, high: f1High }) ? ` (${percent(f1Low)} to ${percent(f1High)})` : "";
  const rows = perLabel.map((row) => make("tr", {}, make("th", { scope: "row" }, row.label),
    make("td", {}, percentOr(row.recall)), make("td", {}, percentOr(row.precision)), make("td", {}, String(row.num))));
  return panel("How good is it?",
    make("p", { className: "figure" }, percent(value)),
    make("p", {}, `${unit}, in recordings that it had not seen (${count}, left out in turn). ${interval}`),
    scoreScale(steps),
    isKnown(baseline) && make("p", { className: "dim" }, `Dashed: ${percent(baseline)} by the average picture of a window alone (mean-pool).`),
    isKnown(f1) && make("p", { className: "dim" }, `Intervals found as they were marked, to half of their length at least: F1@50 ${percent(f1)}${f1Interval}.`),
    scrolling("Each label", make("table", {}, headRow(["Action", "Found", "Right when said", "Marks"]), make("tbody", {}, ...rows))),
    ...noted, more);
}

function showCurve({ curve, enough, steps }) {
  if (!curve.length) return enough ? panel("Is this enough?", make("p", { id: "enough" }, enough)) : null;
  return panel("Is this enough?", make("p", { id: "enough" }, enough),
    learningCurve(curve, steps.baseline, `Score by the number of recordings. ${saidCurve(curve)}`),
    make("p", { className: "dim" }, "The score when it learns from fewer of the recordings, with its 95 % interval. Where the curve still climbs, more recordings help."));
}

function showConfusion({ confusion }) {
  if (!confusion) return null;
  const { labels, counts } = confusion;
  const rows = counts.map((row, truth) => {
    const all = row.reduce((sum, count) => sum + count, 0);
    return make("tr", {}, make("th", { scope: "row" }, labels[truth]), ...row.map((count, said) => {
      const cell = make("td", { className: truth === said ? "" : "wrong" }, String(count));
      if (count) cell.style.setProperty("--part", `${Math.round(8 + 40 * count / all)}%`);
      return cell;
    }));
  });
  return panel("What it mixes up", make("p", { className: "dim" }, "A row is what happened, a column what it said; the numbers are steps of time."),
    scrolling("What it mixes up", make("table", { className: "confusion" }, headRow(["", ...labels]), make("tbody", {}, ...rows))));
}

function showHarmful({ harmful, complete }) {
  if (!harmful.length) return complete ? panel("Takes that harm", make("p", {}, "None was found.")) : null;
  const rows = harmful.map(({ video, name, label, gain, start }) => make("tr", {},
    make("td", {}, make("a", { href: `#label/${video}` }, `${name} at ${clock(start)}`)), make("td", {}, label), make("td", {}, `+${percent(gain)}`)));
  return panel("Takes that harm", make("p", { className: "dim" }, "Without such a take the others are recognised better: is its label right, is the action in the picture?"),
    scrolling("Takes that harm", make("table", { id: "harmful" }, headRow(["Take", "Label", "Gain without it"]), make("tbody", {}, ...rows))));
}
