// The step Label: a player, a timeline, the list of marks, and a key for everything.

import { commands, showKeys } from "./commands.js";
import { digitOf, isTaken, keyOf } from "./keys.js";
import { LabelView } from "./label_view.js";
import { Labelling } from "./labelling.js";
import { MarkList, stamp } from "./mark_list.js";
import { Marks } from "./marks.js";
import { Player } from "./player.js";
import { Screen, pause } from "./screen.js";
import { Tracks } from "./tracks.js";

const lockMilliseconds = 10000, proposalMilliseconds = 400;
const curvePoints = 2000;

let pending = null; // {video, seconds, why}: where to go in a video that is shown next
let lastVideo = "";

export function mount(element, app, argument) {
  const step = new LabelStep(element, app);
  step.show(argument);
  return step;
}

class LabelStep {
  #visit = 0; // of a video; answers to an earlier one come too late
  #isWanted = false;

  constructor(home, app) {
    Object.assign(this, { app, video: null, labelling: null, run: null, learned: "" });
    this.screen = new Screen(app.api, (address) => this.player.setAddress(address));
    this.view = new LabelView(home, this.screen.home, this);
    this.player = new Player(this.screen.video, () => this.#moved(), () => this.showSpeed());
    this.tracks = new Tracks(this.view.tracks, {
      seek: (seconds) => this.player.goTo(seconds),
      select: (item) => this.labelling.choose(item),
      range: (range) => this.labelling.setSelection(range),
      limits: (mark) => this.labelling.limits(mark),
      edge: (mark, values, isDone) => this.labelling.drag(mark, values, isDone),
    });
    this.list = new MarkList(this.view.list, {
      select: (item) => { this.labelling.goTo(item); this.#flush(); },
      edit: (mark, values) => this.labelling.edit(mark, values),
      problem: (text) => this.#say(text, true),
    });
    this.screen.video.addEventListener("click", () => this.player.toggle());
    document.addEventListener("keydown", this.#key);
    document.addEventListener("visibilitychange", this.#awake);
    window.addEventListener("pagehide", this.#free);
    this.off = app.onChange(() => this.#projectChanged());
    this.locking = setInterval(() => this.#lock(), lockMilliseconds);
  }

  unmount() {
    this.#leave();
    clearInterval(this.locking);
    document.removeEventListener("keydown", this.#key);
    document.removeEventListener("visibilitychange", this.#awake);
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
    Object.assign(this, { video, asked: argument });
    this.#showVideos();
    if (!video) return;
    lastVideo = video.id;
    this.#say("Reading the video.");
    const [times, problem] = await this.#frames(video);
    if (visit !== this.#visit) return;
    this.#say(problem, Boolean(problem));
    this.player.load(times, video.begin + video.seconds);
    this.tracks.setVideo(times, this.player.end);
    this.screen.show(this.#path("media"), video.playable);
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
    this.screen.leave();
    this.labelling?.marks.close();
    this.#free();
    Object.assign(this, { video: null, labelling: null, run: null, learned: "" });
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
        if (labelling === this.labelling) this.#say("The video is free now: you can label it.");
      }
      if (was !== labelling.lockedBy) this.#want();
    } catch { /* where the connection is lost, the changes that wait say so */ }
  }

  // A tab that slept may have lost the video to somebody else.
  #awake = () => { if (!document.hidden) this.#lock(); };

  #free = () => {
    if (this.labelling && !this.labelling.lockedBy) this.app.api.delete(this.#path("lock")).catch(() => {});
  };

  #projectChanged() {
    const { video } = this;
    if (!this.app.project.videos.some(({ id }) => id === video?.id)) { this.show(video?.id ?? this.asked); return; } // it was removed, or may be there now
    this.#showVideos();
    if (this.labelling?.lockedBy) this.labelling.marks.reload().catch(() => {});
    this.#learned();
    this.#want();
  }

  // ---- what the model says

  // Reads its curves and proposals when there is a new one, and when the video was read for it.
  async #learned() {
    if (!this.labelling) return;
    const { model, videos } = this.app.project, run = model?.run ?? null, visit = this.#visit;
    const learned = `${run} ${videos.find(({ id }) => id === this.video.id)?.state === "ready"}`;
    if (learned === this.learned) return;
    Object.assign(this, { run, learned });
    const curves = run === null ? null : await this.#orNull(this.#path(`timeline?points=${curvePoints}`));
    if (visit !== this.#visit || learned !== this.learned) return; // of a later one they are on their way
    this.tracks.setCurves(curves);
    await this.#propose();
  }

  async #propose() {
    const visit = this.#visit, { learned } = this, { revision } = this.labelling.marks.base;
    this.proposedAt = revision;
    const found = this.run === null ? null : await this.#orNull(this.#path("proposals"));
    if (visit !== this.#visit || learned !== this.learned || revision !== this.proposedAt) return; // others are asked for
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
    if (!this.labelling || !this.view.hasKeys.checked || isTaken(event)) return;
    const key = keyOf(event), command = commands.find(({ keys }) => keys.includes(key));
    const label = command ? undefined : this.app.project.labels.find((known) => known.key && (known.key.toUpperCase() === key || known.key === digitOf(event)));
    if (!command && !label) return;
    event.preventDefault();
    if (event.repeat && !command?.isRepeated) return;
    if (command) command.run(this); else this.labelling.press(label.name);
    this.#flush();
  };

  // ---- what the buttons and keys ask of the step

  go(video) { this.app.go(`#label/${video}`); }
  press(label) { this.labelling.press(label); }
  editLabels() { this.app.editLabels(); }
  help() { showKeys(this.app.project.labels); }
  showSpeed() { this.view.showSpeed(this.player); }

  // ---- what is shown

  #say(text, isProblem = false) { this.view.say(text, isProblem); }

  #showVideos() {
    const { videos } = this.app.project;
    this.view.showVideos(videos, this.video, videos.length ? "This video is not in the project." : "No videos yet: bring some in the step Videos.");
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
    this.view.showLabels(labels, begun);
    this.view.showSaved(this.labelling);
    this.view.showRefusals(this.labelling.marks);
    this.#moved();
    this.#proposeSoon();
  }

  #moved() {
    if (!this.labelling) return;
    const { player, labelling, tracks } = this, { position } = player;
    labelling.moved();
    tracks.scene.watched = labelling.watched[0] < position ? [labelling.watched[0], position] : null;
    tracks.moveTo(position);
    this.view.showPosition(player, labelling.labelsHere, tracks.top);
  }
}
