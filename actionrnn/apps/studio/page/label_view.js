// What the step Label consists of on the page, and what its parts say.

import { buttons } from "./commands.js";
import { make, plural, setOptions, setText } from "./dom.js";
import { stamp } from "./mark_list.js";

const groups = {
  Player: ["Play", "« 1 s", "‹ Frame", "Frame ›", "1 s »", "‹ Mark", "Mark ›", "Loop", "Slower", "Faster"],
  "Timeline and selection": ["Zoom out", "Zoom in", "From here", "To here", "Cancel", "Looked until here", "Not looked at"],
  "The chosen mark": ["Begins here", "Ends here", "Note", "Delete", "Undo", "Redo"],
  Proposals: ["Next place", "Accept", "Refuse", "Correct", "Keys"],
};
const keysOff = "Off: no key does anything but in fields and on buttons";

export class LabelView {
  #shown = {}; // what was rendered from, as JSON

  // screen: the picture's place. step: what the buttons act upon; go(video's id), press(label's name), editLabels().
  constructor(home, screen, step) {
    this.step = step;
    this.chooser = this.#makeChooser();
    this.saved = make("span", { className: "saved", role: "status" });
    this.hasKeys = make("input", { type: "checkbox", checked: localStorage.getItem("label keys") !== "off" });
    this.hasKeys.addEventListener("change", () => localStorage.setItem("label keys", this.hasKeys.checked ? "on" : "off"));
    this.message = make("p", { className: "said", role: "status", "aria-live": "polite" });
    this.refusals = make("div", { className: "refusals" });
    this.empty = make("p", { className: "dim", hidden: true });
    this.now = make("p", { className: "position" });
    this.speed = make("span", { className: "speed" }, "1×");
    this.tracks = make("div", { className: "tracks" });
    this.labels = make("div", { className: "tools labels", role: "group", "aria-label": "Labels" });
    const [transport, ...others] = Object.entries(groups).map(([name, names]) => buttons(step, name, names));
    transport.lastChild.before(this.speed); // between slower and faster
    this.play = transport.querySelector("[data-command=Play] span");
    this.loop = transport.querySelector("[data-command=Loop]");
    this.work = make("div", { className: "work", role: "application", "aria-label": "Player and timeline. Question mark shows the keys.", tabIndex: -1 },
      screen, this.now, this.tracks, this.labels, transport, ...others);
    this.list = make("section", { className: "marks", "aria-label": "Marks" });
    for (const part of [this.work, this.list]) part.addEventListener("mousedown", leaveKeys);
    home.append(
      make("h2", { className: "visually-hidden" }, "Label"),
      make("div", { className: "label-bar" }, make("label", { htmlFor: "label-video" }, "Video"), this.chooser, this.saved, make("label", { className: "keys-on", title: keysOff }, this.hasKeys, "Keys")),
      this.message, this.refusals, this.empty,
      make("div", { className: "label-columns" }, this.work, this.list));
  }

  #makeChooser() {
    let isPointed = false; // chosen with the mouse: the keys are the timeline's again
    const chooser = make("select", { id: "label-video", onpointerdown: () => { isPointed = true; }, onkeydown: () => { isPointed = false; } });
    chooser.addEventListener("change", () => {
      this.step.go(chooser.value);
      if (isPointed) this.work.focus({ preventScroll: true });
    });
    return chooser;
  }

  say(text, isProblem = false) {
    setText(this.message, text);
    this.message.classList.toggle("bad", isProblem);
  }

  // `why`: instead of a video, if there is none to show.
  showVideos(videos, shown, why) {
    this.empty.hidden = Boolean(shown);
    this.work.hidden = this.list.hidden = !shown;
    setText(this.empty, why);
    setOptions(this.chooser, videos.map(({ id, name, num_marks }) => [id, num_marks ? `${name} (${plural(num_marks, "mark")})` : name]));
    this.chooser.value = shown?.id ?? ""; // with none chosen the first can be, too
  }

  // Whether something differs from what was shown under a name, which it then is.
  #isNew(name, value) {
    const text = JSON.stringify(value), isNew = this.#shown[name] !== text;
    this.#shown[name] = text;
    return isNew;
  }

  showLabels(labels, begun) {
    if (!this.#isNew("labels", [labels, begun?.label])) return;
    const focused = [...this.labels.children].indexOf(document.activeElement);
    const made = labels.map(({ name, key, colour }) => {
      const button = make("button", { type: "button", onclick: () => this.step.press(name), "aria-pressed": String(begun?.label === name) },
        make("span", { className: "swatch" }), make("span", {}, name), key && make("kbd", { "aria-hidden": "true" }, key));
      if (key) button.setAttribute("aria-keyshortcuts", key);
      button.style.setProperty("--colour", colour);
      return button;
    });
    made.push(make("button", { type: "button", onclick: () => this.step.editLabels() }, labels.length ? "Edit labels" : "Add labels"));
    this.labels.replaceChildren(...made);
    made[focused]?.focus();
  }

  showSaved({ lockedBy, marks: { queue, isConnected } }) {
    const text = lockedBy ? `${lockedBy} is labelling this video; you can look at it.`
      : !queue.length ? "Saved"
      : isConnected ? "Saving"
      : `No connection: ${plural(queue.length, "change waits", "changes wait")} here and will be sent.`;
    setText(this.saved, text);
    this.saved.classList.toggle("bad", Boolean(lockedBy) || (queue.length > 0 && !isConnected));
  }

  showRefusals(marks) {
    if (!this.#isNew("refusals", marks.refused)) return;
    this.refusals.replaceChildren(...marks.refused.map(({ ops, reason }, index) => make("p", { className: "bad", role: "alert" },
      make("span", {}, `Not saved (${ops.map(inWords).join("; ")}): ${reason}`),
      make("button", { type: "button", onclick: () => marks.tryAgain(index) }, "Try again"),
      make("button", { type: "button", onclick: () => marks.discard(index) }, "Discard"))));
  }

  // Where the player is, and which labels are there; `slider` says the same to screen readers.
  showPosition({ position, index, times, end }, labels, slider) {
    const on = labels.join(", ");
    setText(this.now, `${stamp(position)} of ${stamp(end)}   frame ${index + 1} of ${times.length}${on && "   " + on}`);
    Object.assign(slider, { ariaValueMin: times[0], ariaValueMax: end.toFixed(3), ariaValueNow: position.toFixed(3), ariaValueText: `${stamp(position)}, frame ${index + 1}${on && ", " + on}` });
  }

  showSpeed({ isPlaying, speed, loop }) {
    setText(this.play, isPlaying ? "Stop" : "Play");
    setText(this.speed, `${speed}×`);
    this.loop.ariaPressed = String(Boolean(loop));
  }
}

// A click leaves the keys where they are, so that Space plays after it.
function leaveKeys(event) {
  if (event.target.closest("button, tbody") && !document.activeElement?.closest("input, select")) event.preventDefault();
}

// An operation in words.
function inWords({ op, label, start, end, note }) {
  const words = { add: "mark", edit: "change", remove: "delete", look: "looked at", unlook: "not looked at", refuse: "refuse" };
  return [words[op], label, start !== undefined && `from ${stamp(start)}`, end !== undefined && `to ${stamp(end)}`, note && `note ${note}`].filter(Boolean).join(" ");
}
