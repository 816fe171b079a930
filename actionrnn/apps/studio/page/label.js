// The step Label: a player, a timeline, the list of marks, and a key for everything.

import { request } from "./api.js";
import { buttons, commands, showKeys } from "./commands.js";
import { make, plural, setText } from "./dom.js";
import { digitOf, isTaken, keyOf } from "./keys.js";
import { Labelling } from "./labelling.js";
import { MarkList, stamp } from "./mark_list.js";
import { Marks } from "./marks.js";
import { Player } from "./player.js";
import { Tracks } from "./tracks.js";

const lockMilliseconds = 10000, pauseMilliseconds = 1000, proposalMilliseconds = 400;
const curvePoints = 2000;

let pending = null; // {video, seconds, why}: where to go in a video that is shown next
let lastVideo = "";

const pause = () => new Promise((resolve) => setTimeout(resolve, pauseMilliseconds));

export function mount(element, app, argument) {
  const step = new LabelStep(element, app);
  step.show(argument);
  return step;
}

class LabelStep {
  #visit = 0; // of a video; answers to an earlier one come too late
  #isWanted = false;
  #shown = {}; // what was rendered from, as JSON

  constructor(home, app) {
    Object.assign(this, { app, video: null, labelling: null, run: null });
    this.#build(home);
    this.player = new Player(this.picture, () => this.#moved(), () => this.showSpeed());
    this.tracks = new Tracks(this.tracksHome, {
      seek: (seconds) => this.player.goTo(seconds),
      select: (item) => this.labelling.choose(item),
      range: (range) => this.labelling.setSelection(range),
      limits: (mark) => this.labelling.limits(mark),
      edge: (mark, values, isDone) => this.labelling.drag(mark, values, isDone),
    });
    this.list = new MarkList(this.listHome, {
      select: (item) => { this.labelling.goTo(item); this.#flush(); },
      edit: (mark, values) => this.labelling.edit(mark, values),
      problem: (text) => this.#say(text, true),
    });
    this.picture.addEventListener("error", () => this.#unplayable());
    document.addEventListener("keydown", this.#key);
    window.addEventListener("pagehide", this.#free);
    this.off = app.onChange(() => this.#projectChanged());
    this.locking = setInterval(() => this.#lock(), lockMilliseconds);
  }

  unmount() {
    this.#leave();
    clearInterval(this.locking);
    document.removeEventListener("keydown", this.#key);
    window.removeEventListener("pagehide", this.#free);
    this.off();
    this.tracks.close();
  }

  // ---- the video

  async show(argument) {
    const { videos, name } = this.app.project;
    const video = videos.find(({ id }) => id === (argument || lastVideo)) ?? (argument ? null : videos[0]);
    if (video && video.id === this.video?.id) { this.#goToPending(); return; }
    this.#leave();
    const visit = this.#visit;
    this.empty.hidden = Boolean(video);
    this.work.hidden = this.listHome.hidden = !video;
    setText(this.empty, argument ? "This video is not in the project." : "No videos yet: bring some in the step Videos.");
    this.video = video;
    this.#showVideos();
    if (!video) return;
    lastVideo = video.id;
    this.#say("Reading the video.");
    const [times, problem] = await this.#frames(video);
    if (visit !== this.#visit) return;
    this.#say(problem, Boolean(problem));
    this.player.load(times, video.begin + video.seconds);
    this.tracks.setVideo(times, this.player.end);
    this.#setSource(!video.playable);
    const marks = new Marks(this.app.api, name, video.id, () => this.#want());
    this.labelling = new Labelling(this.player, marks, () => !this.app.project.settings.multi_label, {
      say: (text, isProblem) => this.#say(text, isProblem),
      changed: () => this.#want(),
      chosen: ({ start, end }) => this.tracks.reveal(start, end),
      write: (field) => { this.#refresh(); this.list.edit(field); },
    });
    await this.#lock();
    try {
      const kept = await this.#answer(() => marks.load());
      if (visit !== this.#visit) return;
      this.labelling.sayKept(kept);
    } catch (error) {
      if (visit === this.#visit) this.#say(error.message, true);
      return;
    }
    this.#showSprite();
    await this.#learned(); // then there is a proposal to choose
    if (visit === this.#visit) this.#goToPending();
  }

  #leave() {
    this.#visit++;
    clearTimeout(this.proposing);
    this.picture.pause();
    this.labelling?.marks.close();
    this.#free();
    Object.assign(this, { video: null, labelling: null, run: null });
  }

  #path(rest) { return `api/videos/${this.video.id}/${rest}`; }

  async #orNull(path) {
    try { return await this.app.api.get(path); } catch { return null; }
  }

  // Asks until the server answers, or another video is shown; raises what it refuses.
  async #answer(ask) {
    for (let visit = this.#visit, isLate = false; ; isLate = true) {
      try {
        const answer = await ask();
        if (isLate && visit === this.#visit) this.#say("");
        return answer;
      } catch (error) {
        if (visit !== this.#visit || (error.status > 0 && error.status < 500)) throw error;
        this.#say(error.message, true);
        await pause();
      }
    }
  }

  // When each frame is shown, and what is wrong with that.
  async #frames({ begin, seconds, rate_fps }) {
    const path = this.#path("frames");
    try {
      const { times } = await this.#answer(() => this.app.api.get(path));
      if (times.length) return [times, ""];
    } catch { /* as said below */ }
    const count = Math.max(1, Math.round(seconds * rate_fps));
    return [Array.from({ length: count }, (_, index) => begin + index / rate_fps), "The times of the frames are not known; they are taken as even."];
  }

  // The video, or a copy that browsers play, once it is made.
  async #setSource(isCopy) {
    const visit = this.#visit, path = this.#path("media") + (isCopy ? "?copy=1" : "");
    this.isCopy = isCopy;
    this.player.setAddress(isCopy ? "" : this.app.api.url(path));
    this.#sayUnplayable(isCopy ? "A copy that this browser can play is being made." : "");
    if (!isCopy) return;
    try {
      while (await this.#isWaiting(path)) await pause();
      if (visit !== this.#visit) return;
      this.#sayUnplayable("");
      this.player.setAddress(this.app.api.url(path));
    } catch (error) {
      if (visit === this.#visit) this.#sayUnplayable(`This browser cannot play the video: ${error.message}`);
    }
  }

  // Whether the server still makes it; the file itself is not read here.
  async #isWaiting(path) {
    const stop = new AbortController(), visit = this.#visit;
    const { status } = await request("GET", path, undefined, stop.signal);
    stop.abort();
    return status === 202 && visit === this.#visit;
  }

  #unplayable() {
    if (!this.video || !this.picture.getAttribute("src")) return;
    if (this.isCopy) this.#sayUnplayable("This browser cannot play the copy either; convert the video to .mp4 (H.264) and add that."); else this.#setSource(true);
  }

  #sayUnplayable(text) {
    setText(this.unplayable, text);
    this.unplayable.hidden = !text;
  }

  async #showSprite() {
    const visit = this.#visit, sprite = await this.#orNull(this.#path("sprite"));
    if (!sprite || visit !== this.#visit) return;
    const image = new Image();
    image.src = this.app.api.url(this.#path("sprite.jpg"));
    image.decode().then(() => { if (visit === this.#visit) this.tracks.setSprite({ ...sprite, image }); }, () => {}); // or without
  }

  // Yours for as long as you are here; else it says whose.
  async #lock() {
    const { labelling } = this;
    if (!labelling) return;
    try {
      const { mine, locked_by } = await this.app.api.post(this.#path("lock")), was = labelling.lockedBy;
      labelling.lockedBy = mine ? null : locked_by || "somebody else";
      if (was && mine) {
        await labelling.marks.reload();
        this.#say("The video is free now: you can label it.");
      }
      if (was !== labelling.lockedBy) this.#want();
    } catch { /* where the connection is lost, the changes that wait say so */ }
  }

  #free = () => {
    if (this.labelling && !this.labelling.lockedBy) this.app.api.delete(this.#path("lock")).catch(() => {});
  };

  #projectChanged() {
    this.#showVideos();
    if (!this.video) { if (this.app.project.videos.length) this.show(""); return; }
    if (this.labelling?.lockedBy) this.labelling.marks.reload().catch(() => {});
    this.#learned();
    this.#want();
  }

  // ---- what the model says

  // Reads its curves and proposals when there is a new one.
  async #learned() {
    const run = this.app.project.model?.run ?? null, visit = this.#visit;
    if (run === this.run || !this.labelling) return;
    this.run = run;
    const curves = run === null ? null : await this.#orNull(this.#path(`timeline?points=${curvePoints}`));
    if (visit !== this.#visit) return;
    this.tracks.setCurves(curves);
    await this.#propose();
  }

  async #propose() {
    const visit = this.#visit, found = this.run === null ? null : await this.#orNull(this.#path("proposals"));
    if (visit !== this.#visit) return;
    this.proposedAt = this.labelling.marks.base.revision;
    this.labelling.propose(found?.proposals ?? []);
  }

  // Some time after the last change, when the server has it.
  #proposeSoon() {
    const { marks } = this.labelling;
    if (this.run === null || marks.queue.length || this.proposedAt === marks.base.revision) return;
    this.proposedAt = marks.base.revision;
    clearTimeout(this.proposing);
    this.proposing = setTimeout(() => this.#propose(), proposalMilliseconds);
  }

  async nextPlace() {
    if (!this.app.project.model) { this.#say("There is no model yet: train one, and G goes to where it is least sure."); return; }
    try {
      const place = await this.app.api.get("api/next");
      if (!place) { this.#say("Nothing is left to look at."); return; }
      pending = place;
      if (place.video === this.video?.id) this.#goToPending(); else this.app.go(`#label/${place.video}`);
    } catch (error) { this.#say(error.message, true); }
  }

  #goToPending() {
    if (pending?.video !== this.video.id || !this.labelling) return;
    const { seconds, why } = pending;
    pending = null;
    this.player.goTo(seconds);
    this.labelling.choose(this.labelling.proposals.find(({ start, end }) => start <= seconds && seconds < end) ?? null);
    this.#say(`${stamp(seconds)}: ${why}`);
  }

  // ---- keys

  #key = (event) => {
    if (!this.labelling || !this.hasKeys.checked || isTaken(event)) return;
    const key = keyOf(event), command = commands.find(({ keys }) => keys.includes(key));
    const label = command ? undefined : this.app.project.labels.find((known) => known.key && (known.key.toUpperCase() === key || known.key === digitOf(event)));
    if (!command && !label) return;
    event.preventDefault();
    if (event.repeat && !command?.isRepeated) return;
    if (command) command.run(this); else this.labelling.press(label.name);
    this.#flush();
  };

  help() { showKeys(this.app.project.labels); }

  // ---- what is shown

  #build(home) {
    let isPointed = false; // chosen with the mouse: the keys are the timeline's again
    this.chooser = make("select", {
      id: "label-video",
      onpointerdown: () => { isPointed = true; },
      onkeydown: () => { isPointed = false; },
      onchange: () => { this.app.go(`#label/${this.chooser.value}`); if (isPointed) this.work.focus({ preventScroll: true }); },
    });
    this.saved = make("span", { className: "saved", role: "status" });
    this.hasKeys = make("input", { type: "checkbox", checked: localStorage.getItem("label keys") !== "off", onchange: () => localStorage.setItem("label keys", this.hasKeys.checked ? "on" : "off") });
    this.message = make("p", { className: "said", role: "status", "aria-live": "polite" });
    this.refusals = make("div", { className: "refusals" });
    this.empty = make("p", { className: "dim", hidden: true });
    this.picture = make("video", { playsInline: true, preload: "auto", tabIndex: -1, onclick: () => this.player.toggle() });
    this.unplayable = make("p", { className: "unplayable", hidden: true });
    this.now = make("p", { className: "position" });
    this.speed = make("span", { className: "speed" }, "1×");
    this.transport = buttons(this, "Player", ["Play", "« 1 s", "‹ Frame", "Frame ›", "1 s »", "‹ Mark", "Mark ›", "Loop", "Slower", "Faster"]);
    this.transport.lastChild.before(this.speed); // between slower and faster
    this.looping = this.transport.querySelector("[data-command=Loop]");
    this.labelButtons = make("div", { className: "tools labels", role: "group", "aria-label": "Labels" });
    this.tracksHome = make("div", { className: "tracks" });
    this.work = make("div", { className: "work", role: "application", "aria-label": "Player and timeline. Question mark shows the keys.", tabIndex: -1 },
      make("div", { className: "screen" }, this.picture, this.unplayable), this.now, this.tracksHome, this.transport, this.labelButtons,
      buttons(this, "Timeline and selection", ["Zoom out", "Zoom in", "From here", "To here", "Cancel", "Looked until here", "Not looked at"]),
      buttons(this, "The chosen mark", ["Begins here", "Ends here", "Note", "Delete", "Undo", "Redo"]),
      buttons(this, "Proposals", ["Next place", "Accept", "Refuse", "Correct", "Keys"]));
    this.listHome = make("section", { className: "marks", "aria-label": "Marks" });
    // a click leaves the keys where they are, so that Space plays after it
    for (const part of [this.work, this.listHome])
      part.addEventListener("mousedown", (event) => { if (event.target.closest("button, tbody") && !document.activeElement?.closest("input, select")) event.preventDefault(); });
    home.append(
      make("h2", { className: "visually-hidden" }, "Label"),
      make("div", { className: "label-bar" }, make("label", { htmlFor: "label-video" }, "Video"), this.chooser, this.saved, make("label", { className: "keys-on", title: "Off: no key does anything but in fields and on buttons" }, this.hasKeys, "Keys")),
      this.message, this.refusals, this.empty,
      make("div", { className: "label-columns" }, this.work, this.listHome));
  }

  #say(text, isProblem = false) {
    setText(this.message, text);
    this.message.classList.toggle("bad", isProblem);
  }

  // Coalesces what changes within one picture.
  #want() {
    if (this.#isWanted) return;
    this.#isWanted = true;
    requestAnimationFrame(() => this.#flush());
  }

  // At once, so that what one writes next is written into the mark that was just chosen.
  #flush() {
    if (this.#isWanted) this.#refresh();
  }

  #refresh() {
    this.#isWanted = false;
    if (!this.labelling) return;
    const { labels } = this.app.project, { shownMarks: marks, proposals, selection, selected, lockedBy } = this.labelling;
    const { begun, looked } = this.labelling.marks;
    this.tracks.show({ labels, marks, proposals, looked, selection, selected, begun });
    this.list.show({ labels, marks, proposals, selected, isReadOnly: Boolean(lockedBy) });
    this.#showLabels(labels, begun);
    this.#showSaved();
    this.#showRefusals();
    this.#moved();
    this.#proposeSoon();
  }

  // Whether something differs from what was shown under a name, which it then is.
  #isNew(name, value) {
    const text = JSON.stringify(value), isNew = this.#shown[name] !== text;
    this.#shown[name] = text;
    return isNew;
  }

  #showVideos() {
    const rows = this.app.project.videos.map(({ id, name, num_marks }) => [id, num_marks ? `${name} (${plural(num_marks, "mark")})` : name]);
    if (this.#isNew("videos", rows)) this.chooser.replaceChildren(...rows.map(([value, text]) => make("option", { value }, text)));
    if (this.video) this.chooser.value = this.video.id;
  }

  #showLabels(labels, begun) {
    if (!this.#isNew("labels", [labels, begun?.label])) return;
    const focused = [...this.labelButtons.children].indexOf(document.activeElement);
    const made = labels.map(({ name, key, colour }) => {
      const button = make("button", { type: "button", onclick: () => this.labelling.press(name), "aria-pressed": String(begun?.label === name) },
        make("span", { className: "swatch" }), make("span", {}, name), key && make("kbd", { "aria-hidden": "true" }, key));
      if (key) button.setAttribute("aria-keyshortcuts", key);
      button.style.setProperty("--colour", colour);
      return button;
    });
    made.push(make("button", { type: "button", onclick: () => this.app.editLabels() }, labels.length ? "Edit labels" : "Add labels"));
    this.labelButtons.replaceChildren(...made);
    made[focused]?.focus();
  }

  #showSaved() {
    const { lockedBy, marks: { queue, isConnected } } = this.labelling;
    const text = lockedBy ? `${lockedBy} labels this video; you can look.`
      : !queue.length ? "Saved"
      : isConnected ? "Saving"
      : `No connection: ${plural(queue.length, "change waits", "changes wait")} here and will be sent.`;
    setText(this.saved, text);
    this.saved.classList.toggle("bad", Boolean(lockedBy) || (queue.length > 0 && !isConnected));
  }

  #showRefusals() {
    const { marks } = this.labelling;
    if (!this.#isNew("refusals", marks.refused)) return;
    this.refusals.replaceChildren(...marks.refused.map(({ ops, reason }, index) => make("p", { className: "bad", role: "alert" },
      make("span", {}, `Not saved${ops.length ? ` (${ops.map(inWords).join("; ")})` : ""}: ${reason}`),
      make("button", { type: "button", onclick: () => marks.tryAgain(index) }, "Try again"),
      make("button", { type: "button", onclick: () => marks.discard(index) }, "Discard"))));
  }

  #moved() {
    if (!this.labelling) return;
    const { player, labelling, tracks } = this, { position, index, times, end } = player;
    labelling.moved();
    tracks.scene.watched = labelling.watched[0] < position ? [labelling.watched[0], position] : null;
    tracks.moveTo(position);
    const labels = labelling.labelsHere.join(", ");
    setText(this.now, `${stamp(position)} of ${stamp(end)}   frame ${index + 1} of ${times.length}${labels && "   " + labels}`);
    Object.assign(tracks.top, { ariaValueMin: times[0], ariaValueMax: end.toFixed(3), ariaValueNow: position.toFixed(3), ariaValueText: `${stamp(position)}, frame ${index + 1}${labels && ", " + labels}` });
  }

  showSpeed() {
    setText(this.transport.querySelector("button span"), this.player.isPlaying ? "Stop" : "Play");
    setText(this.speed, `${this.player.speed}×`);
    this.looping.ariaPressed = String(Boolean(this.player.loop));
  }
}

// An operation in words.
function inWords({ op, label, start, end, note }) {
  const words = { add: "mark", edit: "change", remove: "delete", look: "looked at", unlook: "not looked at", refuse: "refuse" };
  return [words[op], label, start !== undefined && `from ${stamp(start)}`, end !== undefined && `to ${stamp(end)}`, note && `note ${note}`].filter(Boolean).join(" ");
}
