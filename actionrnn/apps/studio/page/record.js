// Webcam takes: a countdown, a few seconds, and the take is in the project with its label.

import { attempt, field, make, plural, setOptions, setText } from "./dom.js";
import { closeCamera, openCamera } from "./shared/common.js";

const lengths = [2, 3, 5, 8, 15], countdowns = [1, 2, 3, 5, 10], series = [1, 3, 5, 10];
const kinds = ["video/webm;codecs=vp8", "video/webm", "video/mp4"]; // the first that the browser writes
const firstMilliseconds = 100; // how often the recorder hands out what it has
const leastPart = 0.75; // of a take's length
const remembered = (name, fallback) => localStorage.getItem(`take-${name}`) ?? String(fallback);
const unkept = new Set(); // takes that the server did not take yet, also while another step is shown
const sayLength = (value) => plural(value, "second");
const wait = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

function choice(name, values, fallback, textOf) {
  const select = make("select", { id: `take-${name}` }, ...values.map((value) => make("option", { value }, textOf(value))));
  select.value = remembered(name, fallback);
  if (!select.value) select.value = String(fallback);
  select.addEventListener("change", () => localStorage.setItem(`take-${name}`, select.value));
  return select;
}

// The webcam for so long, as a file; `onPassed` hears 0 to 1 meanwhile, `signal` ends it.
function film(media, milliseconds, onPassed, signal) {
  return new Promise((resolve, reject) => {
    const parts = [], mimeType = kinds.find((kind) => MediaRecorder.isTypeSupported(kind));
    const recorder = new MediaRecorder(media, { mimeType, videoBitsPerSecond: 2_500_000 });
    const end = () => { if (recorder.state !== "inactive") recorder.stop(); };
    signal.addEventListener("abort", end);
    recorder.onerror = () => reject(new Error("The browser could not record; try again, or another browser."));
    recorder.onstop = () => {
      onPassed(1);
      resolve(new Blob(parts, { type: recorder.mimeType.split(";")[0] }));
    };
    // the length counts from the first picture: the browser's encoder takes its time to start
    let begun = null;
    recorder.ondataavailable = async ({ data }) => {
      parts.push(data);
      if (!data.size || begun !== null) return;
      begun = performance.now();
      for (let passed = 0; passed < milliseconds && recorder.state === "recording"; passed = performance.now() - begun) {
        onPassed(passed / milliseconds);
        await wait(50);
      }
      end();
    };
    recorder.start(firstMilliseconds);
  });
}

export function mountRecorder(element, app, onClose) {
  const video = make("video", { muted: true, playsInline: true, "aria-label": "The webcam" });
  const count = make("div", { className: "count", "aria-live": "assertive" }), fill = make("div");
  const stage = make("div", { className: "stage mirrored" }, video, count, make("div", { className: "bar" }, fill));
  const label = make("select", { id: "take-label", required: true });
  const person = make("input", { id: "take-person", list: "groups", maxLength: 80, value: remembered("person", ""), placeholder: "such as ann" });
  const seconds = choice("seconds", lengths, 3, sayLength);
  const countdown = choice("countdown", countdowns, 3, sayLength);
  const repeats = choice("series", series, 1, (value) => (value === 1 ? "one take" : `${value} takes`));
  const record = make("button", { id: "record", className: "main", disabled: true }, "Record");
  const stop = make("button", { hidden: true }, "Stop");
  const takes = make("ul", { className: "takes", "aria-label": "Takes" });
  const said = make("p", { className: "dim", role: "status" }, "");
  const links = new Set();
  let media = null, isOpen = true, stopping = new AbortController();

  function update({ labels }) {
    const nothing = labels.length ? [["", "none of them"]] : [], chosen = label.value;
    setOptions(label, [...labels.map(({ name }) => [name, name]), ...nothing]);
    if (chosen && label.value !== chosen) label.selectedIndex = -1; // it was renamed or removed: no take gets another one
  }

  const isGoingOn = () => media && !stopping.signal.aborted;

  async function countDown() {
    for (let left = Number(countdown.value); left > 0 && isGoingOn(); left--) {
      count.textContent = String(left);
      await wait(1000);
    }
    count.textContent = "";
  }

  function showPassed(part) {
    stage.classList.toggle("recording", part < 1);
    fill.style.width = part < 1 ? `${100 * part}%` : "0";
  }

  // False if it was stopped.
  async function recordOne(name, group) {
    await countDown();
    if (!isGoingOn()) return false;
    const asked = Number(seconds.value), blob = await film(media, 1000 * asked, showPassed, stopping.signal);
    if (!isGoingOn()) return false;
    const title = name || "background", file = `${title}.${blob.type === "video/mp4" ? "mp4" : "webm"}`;
    const take = { blob, name, group, asked, title, file, video: null };
    try {
      await keep(take);
    } catch (error) {
      unkept.add(take);
      if (isOpen) showUnkept(take);
      throw error;
    }
    return true;
  }

  // Once it is sent it is not sent again, should the rest fail.
  async function keep(take) {
    setText(said, "Keeping the take ...");
    take.video ??= await send(take);
    const { id, name, begin, seconds: length } = take.video;
    // what is looked at and not marked is background
    if (!take.name) await app.api.post(`api/videos/${id}/changes`, { ops: [{ op: "look", start: begin, end: begin + length }] });
    unkept.delete(take);
    if (isOpen) show(take);
    if (length < leastPart * take.asked) app.notify(`${name} has ${length.toFixed(1)} of ${take.asked} seconds: the browser was too busy to record. Record it again.`, true);
    app.refresh().catch(() => {}); // or it is seen a second later
  }

  function send({ blob, name, group, file }) {
    const form = new FormData();
    form.append("file", blob, file);
    if (name) form.append("label", name);
    if (group) form.append("group", group);
    return app.api.upload(name ? "api/takes" : "api/videos", form);
  }

  async function recordTakes(name, group, times) {
    record.disabled = true;
    stop.hidden = false;
    stopping = new AbortController();
    let isWhole = true;
    await attempt(app, async () => {
      for (let done = 0; done < times && isGoingOn(); done++) {
        setText(said, (times > 1 ? `Take ${done + 1} of ${times}: ` : "") + (name || "background"));
        isWhole = await recordOne(name, group);
      }
    });
    record.disabled = !media;
    stop.hidden = true;
    setText(said, isWhole ? "" : "Stopped; that take is not kept.");
  }

  // A take in the list: its picture, its name, and what can be done with it.
  function addRow({ blob }, text, words, ...actions) {
    const link = URL.createObjectURL(blob);
    links.add(link);
    const shown = make("video", { src: link, muted: true, loop: true, playsInline: true, controls: true, "aria-label": text });
    const row = make("li", {}, shown, make("p", {}, words), make("div", { className: "actions" }, ...actions));
    takes.prepend(row);
    return row;
  }

  // One that the server did not take is there until it does; it can be saved as a file, too.
  function showUnkept(take) {
    const again = make("button", {}, "Keep again"), link = URL.createObjectURL(take.blob);
    links.add(link);
    again.addEventListener("click", async () => {
      again.disabled = true;
      await attempt(app, async () => {
        await keep(take);
        row.remove();
      });
      again.disabled = false;
      setText(said, "");
    });
    const row = addRow(take, "Take that is not kept yet", `Not kept yet: ${take.title}`, again, make("a", { href: link, download: take.file }, "Save"));
  }

  function show(take) {
    const { video: { id, name: file }, name, group, title } = take;
    const forget = () => attempt(app, async () => {
      await app.api.delete(`api/videos/${id}`);
      row.remove();
      await app.refresh();
      return true;
    });
    const again = async () => {
      if (record.disabled) return;
      if (await forget()) await recordTakes(name, group, 1);
    };
    const row = addRow(take, `Take ${file}`, title + (group ? ` by ${group}` : ""),
      make("button", { onclick: again, "aria-label": `Record ${file} again` }, "Again"),
      make("button", { onclick: forget, "aria-label": `Delete ${file}` }, "Delete"));
  }

  record.addEventListener("click", () => {
    if (!label.options.length) { app.notify("Name the actions first.", true); app.editLabels(); return; }
    if (label.selectedIndex < 0) { app.notify("Choose the action first: the one that was chosen has another name now.", true); label.focus(); return; }
    localStorage.setItem("take-person", person.value.trim());
    recordTakes(label.value, person.value.trim(), Number(repeats.value));
  });
  stop.addEventListener("click", () => stopping.abort());

  element.append(make("div", { className: "record" }, stage,
    make("div", { className: "fields" }, field("Action", label), field("Person or place", person), field("Countdown", countdown), field("Length", seconds), field("In a row", repeats)),
    make("div", { className: "actions" }, record, stop, make("button", { onclick: () => app.editLabels() }, "Labels"), make("button", { onclick: onClose }, "Close the webcam"), said),
    takes));
  update(app.project);
  for (const take of unkept) showUnkept(take);
  const off = app.onChange(update);
  attempt(app, async () => {
    setText(said, "No webcam."); // unless it opens
    if (!await openCamera(video, () => isOpen)) return;
    media = video.srcObject;
    record.disabled = false;
    setText(said, "");
  });

  return {
    unmount() {
      isOpen = false;
      off();
      stopping.abort();
      closeCamera(video);
      for (const link of links) URL.revokeObjectURL(link);
    },
  };
}
