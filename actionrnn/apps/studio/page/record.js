// Webcam takes: a countdown, a few seconds, and the take is in the project with its label.

import { attempt, field, make, plural, setText } from "./dom.js";
import { closeCamera, openCamera } from "./shared/common.js";

const lengths = [2, 3, 5, 8, 15], countdowns = [1, 2, 3, 5, 10], series = [1, 3, 5, 10];
const kinds = ["video/webm;codecs=vp8", "video/webm", "video/mp4"]; // the first that the browser writes
const firstMilliseconds = 100; // how often the recorder hands out what it has
const remembered = (name, fallback) => localStorage.getItem(`take-${name}`) ?? String(fallback);
const leastPart = 0.75; // of a take's length
const sayLength = (value) => plural(value, "second");
const wait = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

function choice(name, values, fallback, textOf) {
  const select = make("select", { id: `take-${name}` }, ...values.map((value) => make("option", { value }, textOf(value))));
  select.value = remembered(name, fallback);
  if (!select.value) select.value = String(fallback);
  select.addEventListener("change", () => localStorage.setItem(`take-${name}`, select.value));
  return select;
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
  let media = null, isOpen = true, isStopped = false, current = null;
  const links = new Set();

  function update({ labels }) {
    const nothing = labels.length ? [["", "none of them (background)"]] : [];
    setOptions(label, [...labels.map(({ name }) => [name, name]), ...nothing]);
  }

  const isReady = () => media && isOpen;
  async function countDown() {
    for (let left = Number(countdown.value); left > 0 && isReady() && !isStopped; left--) {
      count.textContent = String(left);
      await wait(1000);
    }
    count.textContent = "";
  }

  function film(milliseconds) {
    return new Promise((resolve, reject) => {
      const parts = [], mimeType = kinds.find((kind) => MediaRecorder.isTypeSupported(kind));
      const recorder = current = new MediaRecorder(media, { mimeType, videoBitsPerSecond: 2_500_000 });
      let isFilming = false;
      recorder.onerror = () => reject(new Error("The browser could not record; try again, or another browser."));
      recorder.onstop = () => resolve(new Blob(parts, { type: recorder.mimeType.split(";")[0] }));
      // the length counts from the first picture: the browser's encoder takes its time to start
      recorder.ondataavailable = ({ data }) => {
        parts.push(data);
        if (data.size && !isFilming && recorder.state === "recording") { isFilming = true; run(); }
      };
      const run = async () => {
        stage.classList.add("recording");
        const begun = performance.now();
        for (let passed = 0; passed < milliseconds && isReady() && !isStopped; passed = performance.now() - begun) {
          fill.style.width = 100 * passed / milliseconds + "%";
          await wait(50);
        }
        stage.classList.remove("recording");
        fill.style.width = "0";
        if (recorder.state !== "inactive") recorder.stop();
      };
      recorder.start(firstMilliseconds);
    });
  }

  async function take(name, group) {
    await countDown();
    if (!isReady() || isStopped) return;
    const blob = await film(1000 * Number(seconds.value));
    if (!isReady() || isStopped) return;
    try {
      await keep(blob, name, group);
    } catch (error) {
      showUnkept(blob, name, group);
      throw error;
    }
  }

  async function keep(blob, name, group) {
    setText(said, "Keeping the take ...");
    const form = new FormData();
    form.append("file", blob, `${name || "background"}.${ending(blob)}`);
    if (name) form.append("label", name);
    if (group) form.append("group", group);
    const made = await app.api.upload(name ? "api/takes" : "api/videos", form);
    if (!name) await lookedAt(made);
    show(made, blob, name, group);
    const asked = Number(seconds.value);
    if (made.seconds < leastPart * asked) app.notify(`${made.name} has ${made.seconds.toFixed(1)} of ${asked} seconds: the browser was too busy to record. Record it again.`, true);
    await app.refresh();
  }

  // What is looked at and not marked is background.
  const ending = (blob) => blob.type === "video/mp4" ? "mp4" : "webm";
  const lookedAt = ({ id, begin, seconds }) => app.api.post(`api/videos/${id}/changes`, { ops: [{ op: "look", start: begin, end: begin + seconds }] });

  async function recordTakes(name, group, times) {
    record.disabled = true;
    stop.hidden = false;
    isStopped = false;
    await attempt(app, async () => {
      for (let done = 0; done < times && isReady() && !isStopped; done++) {
        setText(said, times > 1 ? `Take ${done + 1} of ${times}: ${name || "background"}` : name || "background");
        await take(name, group);
      }
    });
    record.disabled = !isReady();
    stop.hidden = true;
    setText(said, isStopped ? "Stopped; that take is not kept." : "");
  }

  function preview(blob, text) {
    const link = URL.createObjectURL(blob);
    links.add(link);
    return make("video", { src: link, muted: true, loop: true, playsInline: true, controls: true, "aria-label": text });
  }

  // A take that the server did not take is there until it does, or is saved as a file.
  function showUnkept(blob, name, group) {
    const shown = preview(blob, "Take that is not kept yet");
    const again = () => attempt(app, async () => {
      await keep(blob, name, group);
      row.remove();
      setText(said, "");
    });
    const row = make("li", {}, shown, make("p", {}, `Not kept yet: ${name || "background"}`), make("div", { className: "actions" },
      make("button", { onclick: again }, "Keep again"),
      make("a", { href: shown.src, download: `${name || "background"}.${ending(blob)}` }, "Save")));
    takes.prepend(row);
  }

  function show(made, blob, name, group) {
    const forget = () => attempt(app, async () => {
      await app.api.delete(`api/videos/${made.id}`);
      row.remove();
      await app.refresh();
      return true;
    });
    const again = async () => {
      if (record.disabled) return;
      if (await forget()) await recordTakes(name, group, 1);
    };
    const row = make("li", {}, preview(blob, `Take ${made.name}`), make("p", {}, (name || "background") + (group ? ` by ${group}` : "")), make("div", { className: "actions" },
      make("button", { onclick: again, "aria-label": `Record ${made.name} again` }, "Again"),
      make("button", { onclick: forget, "aria-label": `Delete ${made.name}` }, "Delete")));
    takes.prepend(row);
  }

  record.addEventListener("click", () => {
    if (!label.options.length) { app.notify("Name the actions first.", true); app.editLabels(); return; }
    localStorage.setItem("take-person", person.value.trim());
    recordTakes(label.value, person.value.trim(), Number(repeats.value));
  });
  stop.addEventListener("click", () => { isStopped = true; });

  element.append(make("div", { className: "record" }, stage,
    make("div", { className: "fields" }, field("Action", label), field("Person or place", person), field("Countdown", countdown), field("Length", seconds), field("In a row", repeats)),
    make("div", { className: "actions" }, record, stop, make("button", { onclick: () => app.editLabels() }, "Labels"), make("button", { onclick: onClose }, "Close the webcam"), said),
    takes));
  update(app.project);
  const off = app.onChange(update);
  attempt(app, async () => {
    setText(said, "No webcam."); // unless it opens
    await openCamera(video);
    if (!isOpen) { closeCamera(video); return; }
    media = video.srcObject;
    record.disabled = false;
    setText(said, "");
  });

  return {
    unmount() {
      isOpen = false;
      off();
      if (current?.state === "recording") current.stop();
      closeCamera(video);
      for (const link of links) URL.revokeObjectURL(link);
    },
  };
}
