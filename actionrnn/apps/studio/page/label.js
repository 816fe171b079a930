// The step Label: a player, a timeline, the list of marks, and a key for everything.

import { request } from "./api.js";
import { make, openDialog, plural, setText } from "./dom.js";
import { ariaKey, digitOf, isTaken, keyOf, shownKey } from "./keys.js";
import { MarkList, stamp } from "./mark_list.js";
import { Marks } from "./marks.js";
import { Player, speeds } from "./player.js";
import { Tracks } from "./tracks.js";

const lockMilliseconds = 10000, copyMilliseconds = 1000, proposalMilliseconds = 400;
const watchedSeconds = 1.5; // a longer jump is not watched over
const curvePoints = 2000;

let pending = null; // {video, seconds, why}: where to go in a video that is shown next
let lastVideo = "";

export function mount(element, app, argument) {
  const step = new LabelStep(element, app);
  step.show(argument);
  return step;
}

class LabelStep {
  #visit = 0; // of a video; answers to an earlier one are late
  #isWanted = false;
  #timers = new Set();

  constructor(home, app) {
    this.app = app;
    Object.assign(this, { video: null, marks: null, proposals: [], selection: null, selected: null, dragged: null, lockedBy: null, watched: [0, 0], run: null });
    this.commands = this.#commands();
    this.#build(home);
    this.player = new Player(this.picture, () => this.#moved(), () => this.#showPlaying());
    this.picture.addEventListener("error", () => this.#unplayable());
    this.tracks = new Tracks(this.tracksHome, {
      seek: (seconds) => this.player.goTo(seconds),
      select: (item) => this.#select(item),
      range: (range) => this.#setSelection(range),
      limits: (mark) => this.#limits(mark),
      edge: (mark, values, isDone) => this.#dragEdge(mark, values, isDone),
    });
    this.list = new MarkList(this.listHome, {
      select: (item) => { this.#select(item); this.player.goTo(item.start); },
      edit: (mark, values) => this.#edit(mark, values),
      problem: (text) => this.#say(text, true),
    });
    this.onKey = (event) => this.#key(event);
    document.addEventListener("keydown", this.onKey);
    this.onHide = () => this.#free();
    window.addEventListener("pagehide", this.onHide);
    this.off = app.onChange(() => this.#projectChanged());
    this.#every(lockMilliseconds, () => this.#lock());
  }

  unmount() {
    this.#leave();
    this.#visit++;
    for (const timer of this.#timers) clearInterval(timer);
    document.removeEventListener("keydown", this.onKey);
    window.removeEventListener("pagehide", this.onHide);
    this.off();
    this.tracks.close();
  }

  // ---- the video

  async show(argument) {
    const { videos } = this.app.project;
    const video = videos.find((known) => known.id === (argument || lastVideo)) ?? (argument ? null : videos[0]);
    if (!video) {
      this.#sayEmpty(argument ? "This video is not in the project." : "No videos yet: bring some in the step Videos.");
      return;
    }
    if (video.id === this.video?.id) { this.#goToPending(); return; }
    this.#leave();
    const visit = ++this.#visit;
    const { api } = this.app, path = `api/videos/${video.id}`;
    Object.assign(this, { video, proposals: [], selection: null, selected: null, dragged: null, lockedBy: null });
    lastVideo = video.id;
    this.empty.hidden = true;
    this.work.hidden = this.listHome.hidden = false;
    this.#showVideos();
    this.#say("");
    this.marks = new Marks(api, this.app.project.name, video.id, () => this.#want());
    const times = await this.#frames(video);
    if (visit !== this.#visit) return;
    this.player.load("", times, video.seconds);
    this.watched = [times[0], times[0]];
    this.tracks.setVideo(times, this.player.end);
    this.#setSource(video, !video.playable);
    await this.#lock();
    try {
      const kept = await this.marks.load();
      if (visit !== this.#visit) return;
      if (kept) this.#say(`${plural(kept, "change")} from before ${kept === 1 ? "is" : "are"} being sent.`);
    } catch (error) {
      if (visit === this.#visit) this.#say(error.message, true);
      return;
    }
    this.#goToPending();
    this.#showSprite(path, visit);
    this.run = null;
    this.#learned();
  }

  #leave() {
    if (!this.video) return;
    this.picture.pause();
    this.marks.close();
    this.#free();
    this.video = null;
  }

  #free() {
    if (this.video && !this.lockedBy) this.app.api.delete(`api/videos/${this.video.id}/lock`).catch(() => {});
  }

  async #frames(video) {
    try {
      const { times } = await this.app.api.get(`api/videos/${video.id}/frames`);
      if (times.length) return times;
    } catch (error) {
      this.#say(`${error.message} The frames' times are estimated.`, true);
    }
    return Array.from({ length: Math.max(1, Math.round(video.seconds * video.rate_fps)) }, (_, index) => index / video.rate_fps);
  }

  // The video, or a copy that browsers play, once it is made.
  async #setSource(video, isCopy) {
    const visit = this.#visit, path = `api/videos/${video.id}/media${isCopy ? "?copy=1" : ""}`;
    this.isCopy = isCopy;
    if (!isCopy) { this.player.setAddress(this.app.api.url(path)); return; }
    setText(this.unplayable, "A copy that this browser can play is being made.");
    this.unplayable.hidden = false;
    try {
      for (;;) {
        const stop = new AbortController(), { status } = await request("GET", path, undefined, stop.signal);
        stop.abort();
        if (visit !== this.#visit) return;
        if (status !== 202) break;
        await new Promise((resolve) => setTimeout(resolve, copyMilliseconds));
      }
      this.unplayable.hidden = true;
      this.player.setAddress(this.app.api.url(path));
    } catch (error) {
      if (visit === this.#visit) setText(this.unplayable, `This browser cannot play the video: ${error.message}`);
    }
  }

  #unplayable() {
    if (!this.video || !this.picture.getAttribute("src")) return;
    if (!this.isCopy) { this.#setSource(this.video, true); return; }
    setText(this.unplayable, "This browser cannot play the video.");
    this.unplayable.hidden = false;
  }

  async #showSprite(path, visit) {
    try {
      const sprite = await this.app.api.get(`${path}/sprite`);
      const image = new Image();
      image.src = this.app.api.url(`${path}/sprite.jpg`);
      await image.decode();
      if (visit === this.#visit) this.tracks.setSprite({ ...sprite, image });
    } catch { /* without thumbnails */ }
  }

  // Yours for as long as you are here; else it says whose.
  async #lock() {
    if (!this.video) return;
    const { id } = this.video;
    try {
      const { mine, locked_by } = await this.app.api.post(`api/videos/${id}/lock`);
      if (this.video?.id !== id) return;
      const was = this.lockedBy;
      this.lockedBy = mine ? null : locked_by || "somebody else";
      if (was && mine) { await this.marks.reload(); this.#say("The video is free now: you can label it."); }
      if (was !== this.lockedBy) this.#want();
    } catch { /* the connection is told of where a change waits */ }
  }

  // ---- what the model says

  // Reads its curves and proposals when there is a new one.
  async #learned() {
    const run = this.app.project.model?.run ?? null, visit = this.#visit;
    if (run === this.run || !this.video) return;
    this.run = run;
    const curves = run === null ? null : await this.#orNull(`timeline?points=${curvePoints}`);
    if (visit !== this.#visit) return;
    this.tracks.setCurves(curves);
    await this.#propose();
  }

  async #propose() {
    const visit = this.#visit;
    const found = this.run === null ? null : await this.#orNull("proposals");
    if (visit !== this.#visit) return;
    this.proposals = (found?.proposals ?? []).sort((a, b) => a.start - b.start);
    this.proposedAt = this.marks.base.revision;
    this.#want();
  }

  async #orNull(path) {
    try { return await this.app.api.get(`api/videos/${this.video.id}/${path}`); } catch { return null; }
  }

  #projectChanged() {
    this.#showVideos();
    if (!this.video) { if (this.app.project.videos.length) this.show(""); return; }
    if (this.lockedBy) this.marks.reload().catch(() => {});
    this.#learned();
    this.#want();
  }

  async #nextPlace() {
    try {
      const place = await this.app.api.get("api/next");
      if (!place) { this.#say("Nothing is left to look at."); return; }
      pending = place;
      if (place.video === this.video?.id) this.#goToPending(); else this.app.go(`#label/${place.video}`);
    } catch (error) { this.#say(error.message, true); }
  }

  #goToPending() {
    if (pending?.video !== this.video.id) return;
    this.player.goTo(pending.seconds);
    this.#select(this.proposals.find((proposal) => proposal.start <= pending.seconds && pending.seconds < proposal.end) ?? null);
    this.#say(`${stamp(pending.seconds)}: ${pending.why}`);
    pending = null;
  }

  // ---- marks

  // Says why nothing may be changed, if so.
  get #isReadOnly() {
    if (this.lockedBy) this.#say(`${this.lockedBy} labels this video now; look at another one, or wait.`, true);
    return Boolean(this.lockedBy);
  }

  get #isExclusive() { return !this.app.project.settings.multi_label; }

  // The mark that a stretch of a label would overlap; undefined if it may be there.
  #inTheWay({ label, start, end }, but = null) {
    return this.marks.marks.find((mark) => mark.id !== but && mark.start < end && start < mark.end && (this.#isExclusive || mark.label === label));
  }

  #problemOf(wanted, but = null) {
    const other = this.#inTheWay(wanted, but);
    return other ? `${wanted.label} ${stamp(wanted.start)} to ${stamp(wanted.end)} overlaps ${other.label} ${stamp(other.start)} to ${stamp(other.end)}.` : "";
  }

  // Adds a mark if it may be there; true if it is.
  #add({ label, start, end }, more = []) {
    if (this.#isReadOnly) return false;
    const problem = this.#problemOf({ label, start, end });
    if (problem) { this.#say(problem, true); return false; }
    [this.selected] = this.marks.change([{ op: "add", label, start, end }, ...more]);
    this.#say(`${label} ${stamp(start)} to ${stamp(end)}`);
    return true;
  }

  #edit(mark, values) {
    if (this.#isReadOnly) return;
    const edited = { ...mark, ...values };
    if (Object.keys(values).every((name) => values[name] === mark[name])) return;
    if (!(edited.start < edited.end)) { this.#say(`The end, ${stamp(edited.end)}, must be after the begin, ${stamp(edited.start)}.`, true); return; }
    if (edited.start < this.player.start || edited.end > this.player.end + 1e-6) { this.#say(`The video lasts from ${stamp(this.player.start)} to ${stamp(this.player.end)}.`, true); return; }
    const problem = "note" in values ? "" : this.#problemOf(edited, mark.id);
    if (problem) { this.#say(problem, true); return; }
    this.marks.change([{ op: "edit", id: mark.id, ...values }]);
    this.#say(`${edited.label} ${stamp(edited.start)} to ${stamp(edited.end)}`);
  }

  // A label's key: over the selection; else it begins an interval here, or ends it.
  #label(name) {
    const { selection } = this, { begun } = this.marks, here = this.player.position;
    if (selection && selection.start !== null && selection.end !== null) {
      if (selection.proposal) { this.#setSelection({ ...selection, label: name }); return; }
      if (this.#add({ ...selection, label: name })) this.#setSelection(null);
      return;
    }
    if (this.#isReadOnly) return;
    if (begun && (begun.label === name || this.#isExclusive)) {
      if (!this.#endBegun()) return;
      if (begun.label === name) return;
    }
    this.marks.begin({ label: name, start: here });
    this.#say(`${name} begins at ${stamp(here)}`);
  }

  // The interval that was begun becomes a mark, whichever way one went since; false if it may not.
  #endBegun() {
    const { label, start } = this.marks.begun, here = this.player.endPosition;
    const [from, to] = here > start ? [start, here] : [this.player.position, start];
    if (from === to) { this.marks.begin(null); this.#say(`${label} is not begun any more.`); return true; }
    if (!this.#add({ label, start: from, end: to })) return false;
    this.marks.begin(null);
    return true;
  }

  #setEdge(side) {
    const mark = this.#chosen();
    if (!mark) { this.#say("Choose a mark first: , and . go from one to the next."); return; }
    this.#edit(mark, { [side]: side === "start" ? this.player.position : this.player.endPosition });
  }

  #select(item) {
    this.selected = item?.id ?? null;
    if (item) this.tracks.reveal(item.start, item.end);
    this.#want();
  }

  #setSelection(selection) {
    this.selection = selection;
    if (this.player.loop) this.player.setLoop(this.#loopable());
    this.#want();
  }

  #selectSide(side) {
    const at = side === "start" ? this.player.position : this.player.endPosition, was = this.selection ?? { start: null, end: null };
    const next = { ...was, [side]: at };
    if (next.start !== null && next.end !== null && next.start >= next.end) next[side === "start" ? "end" : "start"] = null;
    this.#setSelection(next);
    this.#say(`Selection ${side === "start" ? "from" : "to"} ${stamp(at)}`);
  }

  #chosen() { return this.marks?.marks.find((mark) => mark.id === this.selected); }

  // The chosen proposal, or the one at the position.
  #proposal() {
    const { position } = this.player;
    return this.proposals.find((proposal) => proposal.id === this.selected) ?? this.proposals.find((proposal) => proposal.start <= position && position < proposal.end);
  }

  #accept() {
    const { selection } = this, isWhole = selection && selection.start !== null && selection.end !== null;
    if (isWhole && !selection.label) { this.#say("Press the key of a label."); return; }
    const wanted = isWhole ? selection : this.#proposal();
    if (!wanted) { this.#say("No proposal is here: G goes to the next place."); return; }
    const proposal = isWhole ? selection.proposal : wanted.id;
    if (!this.#add(wanted, proposal ? [{ op: "look", start: wanted.start, end: wanted.end }] : [])) return;
    if (isWhole) this.#setSelection(null);
    if (proposal) this.#drop(proposal);
  }

  #refuse() {
    const proposal = this.#proposal();
    if (!proposal) { this.#say("No proposal is here: G goes to the next place."); return; }
    if (this.#isReadOnly) return;
    const { label, start, end } = proposal;
    this.marks.change([{ op: "refuse", label, start, end }]);
    if (this.selection?.proposal === proposal.id) this.#setSelection(null);
    this.#say(`Refused: ${label} ${stamp(start)} to ${stamp(end)}`);
    this.#drop(proposal.id);
  }

  #correct() {
    const proposal = this.#chosen() ? null : this.#proposal();
    if (!proposal) {
      if (this.#chosen()) { this.#refresh(); this.list.edit("start"); } else this.#say("Choose a mark or a proposal first.");
      return;
    }
    const { id, label, start, end } = proposal;
    this.#setSelection({ label, start, end, proposal: id });
    this.player.goTo(start);
    this.#say("I and O set its begin and end, a label's key its label; Enter takes it.");
  }

  // A proposal was answered: on to the next.
  #drop(id) {
    const dropped = this.proposals.find((proposal) => proposal.id === id);
    this.proposals = this.proposals.filter((proposal) => proposal.id !== id);
    const next = this.proposals.find((proposal) => dropped && proposal.start >= dropped.start);
    if (!next) return;
    this.#select(next);
    this.player.goTo(next.start);
  }

  #remove() {
    const mark = this.#chosen();
    if (!mark) { this.#say("Choose a mark first: , and . go from one to the next."); return; }
    if (this.#isReadOnly) return;
    this.marks.change([{ op: "remove", id: mark.id }]);
    this.#say(`Deleted: ${mark.label} ${stamp(mark.start)} to ${stamp(mark.end)}`);
  }

  #looked() {
    if (this.#isReadOnly) return;
    const [start] = this.watched, end = this.player.endPosition;
    if (!(start < end)) { this.#say("Play or step to where you have looked, then press U: a longer jump does not count."); return; }
    this.marks.change([{ op: "look", start, end }]);
    this.#say(`Looked at ${stamp(start)} to ${stamp(end)}: what is not marked there is none of the labels.`);
  }

  #go(direction) {
    const items = [...this.marks.marks, ...this.proposals].sort((a, b) => a.start - b.start), { position } = this.player;
    const at = items.findIndex((item) => item.id === this.selected);
    const next = at >= 0 && items[at].start === position ? items[at + direction]
      : direction > 0 ? items.find((item) => item.start > position) : items.findLast((item) => item.start < position);
    if (!next) { this.#say(direction > 0 ? "No later mark." : "No earlier mark."); return; }
    this.#select(next);
    this.player.goTo(next.start);
    this.#say(`${next.label} ${stamp(next.start)} to ${stamp(next.end)}${"score" in next ? ", proposed" : ""}`);
  }

  #history(kind) {
    if (this.#isReadOnly) return;
    const isUndo = kind === "undo";
    if (isUndo ? !this.marks.canUndo : !this.marks.canRedo) { this.#say(`Nothing to ${kind}.`); return; }
    this.marks[kind]();
    this.#say(isUndo ? "Undone" : "Done again");
  }

  // How far a mark's edges may be drawn.
  #limits(mark) {
    let low = this.player.start, high = this.player.end;
    for (const other of this.marks.marks) {
      if (other.id === mark.id || !(this.#isExclusive || other.label === mark.label)) continue;
      if (other.end <= mark.start) low = Math.max(low, other.end);
      if (other.start >= mark.end) high = Math.min(high, other.start);
    }
    return [low, high];
  }

  #dragEdge(mark, values, isDone) {
    if (values && this.#isReadOnly) return;
    this.dragged = values && !isDone ? { id: mark.id, ...values } : null;
    if (values) this.player.goTo(values.start === mark.start ? values.end : values.start);
    if (isDone) { this.selected = mark.id; this.#edit(mark, values); }
    this.#want();
  }

  // The selection, or the chosen mark or proposal.
  #loopable() {
    const { selection } = this;
    return selection && selection.start !== null && selection.end !== null ? selection : this.#chosen() ?? this.#proposal() ?? null;
  }

  #loop() {
    const loop = this.player.loop ? null : this.#loopable();
    if (!loop && !this.player.loop) { this.#say("Select a stretch with I and O, or choose a mark, to loop it."); return; }
    this.player.setLoop(loop);
    this.#say(loop ? `Loops ${stamp(loop.start)} to ${stamp(loop.end)}` : "No loop");
    this.#showPlaying();
  }

  #cancel() {
    if (this.selection) this.#setSelection(null);
    else if (this.marks.begun) { this.#say(`${this.marks.begun.label} is not begun any more.`); this.marks.begin(null); } else this.#select(null);
  }

  // ---- keys and buttons

  // [name, what it does in words, keys, function, may repeat while the key is held]
  #commands() {
    const speed = (by) => { const at = speeds.indexOf(this.player.speed) + by; if (speeds[at]) { this.player.setSpeed(speeds[at]); this.#showPlaying(); this.#say(`Speed ${speeds[at]}`); } };
    const bySeconds = (count) => { const { player } = this; player.goTo(player.position + count); };
    return [
      ["Play", "Play or stop", [" "], () => this.player.toggle()],
      ["‹ Frame", "A frame back", ["ArrowLeft"], () => this.player.step(-1), true],
      ["Frame ›", "A frame on", ["ArrowRight"], () => this.player.step(1), true],
      ["« 1 s", "A second back", ["Shift+ArrowLeft"], () => bySeconds(-1), true],
      ["1 s »", "A second on", ["Shift+ArrowRight"], () => bySeconds(1), true],
      ["‹ Mark", "To the mark or proposal before", ["Ctrl+ArrowLeft", ","], () => this.#go(-1), true],
      ["Mark ›", "To the next mark or proposal", ["Ctrl+ArrowRight", "."], () => this.#go(1), true],
      ["Slower", "Slower", ["S"], () => speed(-1)],
      ["Faster", "Faster", ["F"], () => speed(1)],
      ["Loop", "Loop the selection, or the chosen mark", ["L"], () => this.#loop()],
      ["Zoom in", "Zoom in", ["+", "="], () => this.tracks.zoom(2), true],
      ["Zoom out", "Zoom out", ["-"], () => this.tracks.zoom(0.5), true],
      ["From here", "The selection begins here; a label's key then marks it", ["I"], () => this.#selectSide("start")],
      ["To here", "The selection ends here", ["O"], () => this.#selectSide("end")],
      ["Mark begins here", "The chosen mark begins here", ["Shift+I"], () => this.#setEdge("start")],
      ["Mark ends here", "The chosen mark ends here", ["Shift+O"], () => this.#setEdge("end")],
      ["Note", "Write a note at the chosen mark", ["C"], () => { if (this.#chosen()) { this.#refresh(); this.list.edit("note"); } else this.#say("Choose a mark first."); }],
      ["Delete", "Delete the chosen mark", ["Delete"], () => this.#remove()],
      ["Undo", "Undo", ["Ctrl+Z"], () => this.#history("undo")],
      ["Redo", "Redo", ["Ctrl+Shift+Z", "Ctrl+Y"], () => this.#history("redo")],
      ["Looked until here", "What was played or stepped through until here was looked at: what is not marked there is none of the labels", ["U"], () => this.#looked()],
      ["Accept", "Accept the proposal", ["Enter"], () => this.#accept()],
      ["Refuse", "Refuse the proposal", ["N"], () => this.#refuse()],
      ["Correct", "Correct the proposal, or the chosen mark", ["E"], () => this.#correct()],
      ["Next place", "Go to the place that the model is least sure of", ["G"], () => this.#nextPlace()],
      ["Cancel", "Forget the selection, or the interval that was begun", ["Escape"], () => this.#cancel()],
      ["Keys", "Show the keys", ["?"], () => this.#help()],
    ].map(([name, text, keys, run, isRepeated = false]) => ({ name, text, keys, run, isRepeated }));
  }

  #key(event) {
    if (!this.video || !this.marks || isTaken(event)) return;
    const key = keyOf(event), { labels } = this.app.project;
    const command = this.commands.find(({ keys }) => keys.includes(key));
    const label = command ? undefined : labels.find((known) => known.key && (known.key.toUpperCase() === key || known.key === digitOf(event)));
    if (!command && !label) return;
    event.preventDefault();
    if (event.repeat && !command?.isRepeated) return;
    if (command) command.run(); else this.#label(label.name);
  }

  #help() {
    const rows = this.commands.map(({ text, keys }) => make("tr", {}, make("td", {}, ...keys.filter((key) => key !== "=").map((key) => make("kbd", {}, shownKey(key)))), make("td", {}, text)));
    const labels = this.app.project.labels.filter((label) => label.key).map((label) => make("tr", {}, make("td", {}, make("kbd", {}, label.key)), make("td", {}, `${label.name}: begin, and end; or mark the selection`)));
    const close = make("button", { className: "main" }, "Close");
    const body = make("div", { className: "key-table", tabIndex: 0, role: "region", "aria-label": "Keys" }, make("table", {}, make("tbody", {}, ...labels, ...rows)));
    const dialog = openDialog("Keys", body, make("div", { className: "actions" }, close));
    close.addEventListener("click", () => dialog.close());
    close.focus();
  }

  #button(name) {
    const { text, keys, run } = this.commands.find((command) => command.name === name);
    return make("button", { type: "button", onclick: run, title: text, "aria-keyshortcuts": keys.map(ariaKey).join(" ") }, make("span", {}, name), make("kbd", { "aria-hidden": "true" }, shownKey(keys[0])));
  }

  // ---- what is shown

  #build(home) {
    const group = (name, ...names) => make("div", { className: "tools", role: "group", "aria-label": name }, ...names.map((wanted) => this.#button(wanted)));
    this.chooser = make("select", { id: "label-video", onchange: () => this.app.go(`#label/${this.chooser.value}`) });
    this.saved = make("span", { className: "saved", role: "status" });
    this.message = make("p", { className: "said", role: "status", "aria-live": "polite" });
    this.refusals = make("div", { className: "refusals" });
    this.empty = make("p", { className: "dim", hidden: true });
    this.picture = make("video", { playsInline: true, preload: "auto", tabIndex: -1, onclick: () => this.player.toggle() });
    this.unplayable = make("p", { className: "unplayable", hidden: true });
    this.now = make("p", { className: "position" });
    this.transport = group("Player", "Play", "« 1 s", "‹ Frame", "Frame ›", "1 s »", "‹ Mark", "Mark ›", "Loop", "Slower", "Faster");
    this.speed = make("span", { className: "speed" });
    this.transport.append(this.speed);
    this.labelButtons = make("div", { className: "tools labels", role: "group", "aria-label": "Labels" });
    this.tracksHome = make("div", { className: "tracks" });
    this.work = make("div", { className: "work", role: "application", "aria-label": "Player and timeline. Question mark shows the keys.", tabIndex: -1 },
      make("div", { className: "screen" }, this.picture, this.unplayable), this.now, this.transport, this.labelButtons, this.tracksHome,
      group("Timeline and selection", "Zoom out", "Zoom in", "From here", "To here", "Looked until here", "Cancel"),
      group("Marks", "Mark begins here", "Mark ends here", "Note", "Delete", "Undo", "Redo"),
      group("Proposals", "Next place", "Accept", "Refuse", "Correct", "Keys"));
    this.listHome = make("section", { className: "marks", "aria-label": "Marks" });
    // a click leaves the keys where they are, so that Space plays after it
    this.work.addEventListener("mousedown", (event) => { if (event.target.closest("button") && !document.activeElement?.closest("input, select")) event.preventDefault(); });
    home.append(
      make("h2", { className: "visually-hidden" }, "Label"),
      make("div", { className: "label-bar" }, make("label", { htmlFor: "label-video" }, "Video"), this.chooser, this.saved),
      this.message, this.refusals, this.empty,
      make("div", { className: "label-columns" }, this.work, this.listHome));
  }

  #sayEmpty(text) {
    this.#leave();
    this.#showVideos();
    setText(this.empty, text);
    this.empty.hidden = false;
    this.work.hidden = this.listHome.hidden = true;
  }

  #showVideos() {
    const rows = this.app.project.videos.map(({ id, name, num_marks }) => [id, num_marks ? `${name} (${plural(num_marks, "mark")})` : name]);
    const shown = JSON.stringify(rows);
    if (shown !== this.shownVideos) {
      this.shownVideos = shown;
      this.chooser.replaceChildren(...rows.map(([id, text]) => make("option", { value: id }, text)));
    }
    if (this.video) this.chooser.value = this.video.id;
  }

  #say(text, isProblem = false) {
    setText(this.message, text);
    this.message.classList.toggle("bad", isProblem);
  }

  // Coalesces what changes within one picture.
  #want() {
    if (this.#isWanted) return;
    this.#isWanted = true;
    requestAnimationFrame(() => { this.#isWanted = false; this.#refresh(); });
  }

  #refresh() {
    if (!this.video) return;
    const { labels } = this.app.project, { dragged, proposals, selection, selected } = this, { begun, looked, base } = this.marks;
    const marks = dragged ? this.marks.marks.map((mark) => (mark.id === dragged.id ? { ...mark, ...dragged } : mark)) : this.marks.marks;
    this.tracks.show({ labels, marks, proposals, looked, selection, selected, begun });
    this.list.show({ labels, marks, proposals, selected, isReadOnly: Boolean(this.lockedBy) });
    this.#showLabels(labels, begun);
    this.#showSaved();
    this.#showRefusals();
    this.#moved();
    if (this.proposedAt !== base.revision && !this.marks.queue.length && this.run !== null) this.#proposeSoon();
  }

  #proposeSoon() {
    this.proposedAt = this.marks.base.revision;
    clearTimeout(this.proposing);
    this.proposing = setTimeout(() => { if (this.video) this.#propose(); }, proposalMilliseconds);
  }

  #showLabels(labels, begun) {
    const shown = JSON.stringify([labels, begun?.label]);
    if (shown === this.shownLabels) return;
    this.shownLabels = shown;
    const focused = [...this.labelButtons.children].indexOf(document.activeElement);
    const buttons = labels.map(({ name, key, colour }) => {
      const button = make("button", { type: "button", onclick: () => this.#label(name), "aria-pressed": String(begun?.label === name) }, make("span", { className: "swatch" }), make("span", {}, name), key ? make("kbd", { "aria-hidden": "true" }, key) : null);
      if (key) button.setAttribute("aria-keyshortcuts", key);
      button.style.setProperty("--colour", colour);
      return button;
    });
    buttons.push(make("button", { type: "button", onclick: () => this.app.editLabels() }, labels.length ? "Edit labels" : "Add labels"));
    this.labelButtons.replaceChildren(...buttons);
    buttons[focused]?.focus();
  }

  #showSaved() {
    const { queue, isConnected } = this.marks;
    const waiting = `${plural(queue.length, "change")} ${queue.length === 1 ? "waits" : "wait"}`;
    const text = this.lockedBy ? `${this.lockedBy} labels this video; you can look.`
      : !queue.length ? "Saved"
      : isConnected ? "Saving" : `No connection: ${waiting} here and will be sent.`;
    setText(this.saved, text);
    this.saved.classList.toggle("bad", Boolean(this.lockedBy) || (queue.length > 0 && !isConnected));
  }

  #showRefusals() {
    const { refused } = this.marks, shown = JSON.stringify(refused);
    if (shown === this.shownRefusals) return;
    this.shownRefusals = shown;
    this.refusals.replaceChildren(...refused.map(({ ops, reason }, index) => make("p", { className: "bad", role: "alert" },
      make("span", {}, `Not saved${ops.length ? ` (${ops.map(sayOp).join("; ")})` : ""}: ${reason}`),
      make("button", { type: "button", onclick: () => this.marks.tryAgain(index) }, "Try again"),
      make("button", { type: "button", onclick: () => this.marks.discard(index) }, "Discard"))));
  }

  #moved() {
    if (!this.video) return;
    const { position, index, times, end } = this.player, [from, to] = this.watched;
    this.watched = position < from - watchedSeconds || position > to + watchedSeconds ? [position, position] : [Math.min(from, position), Math.max(to, position)];
    this.tracks.scene.watched = this.watched[0] < position ? [this.watched[0], position] : null;
    this.tracks.moveTo(position);
    const on = this.marks.marks.filter((mark) => mark.start <= position && position < mark.end).map((mark) => mark.label);
    setText(this.now, `${stamp(position)} of ${stamp(end)}   frame ${index + 1} of ${times.length}${on.length ? "   " + on.join(", ") : ""}`);
    const { top } = this.tracks;
    for (const [name, value] of Object.entries({ "aria-valuemin": times[0], "aria-valuemax": end.toFixed(3), "aria-valuenow": position.toFixed(3), "aria-valuetext": `${stamp(position)}, frame ${index + 1}${on.length ? ", " + on.join(", ") : ""}` })) top.setAttribute(name, value);
  }

  #showPlaying() {
    const isPlaying = this.player.isPlaying;
    setText(this.transport.querySelector("button span"), isPlaying ? "Stop" : "Play");
    setText(this.speed, `${this.player.speed}×${this.player.loop ? ", loops" : ""}`);
  }

  #every(milliseconds, work) { this.#timers.add(setInterval(work, milliseconds)); }
}

// An operation in words.
function sayOp({ op, label, start, end, note }) {
  const words = { add: "mark", edit: "change", remove: "delete", look: "looked at", unlook: "not looked at", refuse: "refuse" };
  return [words[op], label, start !== undefined && `from ${stamp(start)}`, end !== undefined && `to ${stamp(end)}`, note && `note ${note}`].filter(Boolean).join(" ");
}
