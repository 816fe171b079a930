// A video that is moved by its own frames. Positions are times of frames on the file's clock.

// The last index whose time is not later; 0 before the first.
export function indexAt(times, seconds) {
  let low = 0, high = times.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (times[middle] <= seconds + 1e-6) low = middle; else high = middle - 1;
  }
  return low;
}

export const speeds = [0.25, 0.5, 1, 1.5, 2, 4];

export class Player {
  #offset = 0; // the player's time plus this is the file's: some players begin at 0, some at the file's first time
  #isFollowing = false;
  #isLoaded = false;
  #isSeekDue = false; // once the seek that runs is done

  // `onMove()` is called whenever another frame is shown, `onState()` when it plays or stops.
  constructor(video, onMove, onState) {
    Object.assign(this, { video, onMove, onState, times: [0], end: 0, index: 0, loop: null });
    video.addEventListener("loadeddata", () => { // not before: until then Chromium says 0 of an .mp4 that begins later
      this.#isLoaded = true;
      this.#offset = this.times[0] - video.currentTime;
      if (this.index) this.#seek();
      video.playbackRate = this.speed;
    });
    video.addEventListener("seeked", () => { if (this.#isSeekDue) this.#seek(); });
    video.addEventListener("play", () => { this.#follow(); onState(); });
    video.addEventListener("pause", () => {
      if (video.readyState && !this.#isSeeking && !video.ended) this.#show(indexAt(this.times, video.currentTime + this.#offset));
      onState();
    });
    video.addEventListener("ended", () => this.#ended());
    this.speed = 1;
  }

  // times: of all frames in seconds; end: of the video, after the last of them.
  load(times, end) {
    const last = times.at(-1), frame = times.length > 1 ? last - times.at(-2) : 1 / 25;
    Object.assign(this, { times, index: 0, loop: null, end: end > last ? end : last + frame });
  }

  setAddress(address) {
    this.#isLoaded = this.#isSeekDue = false;
    if (address) this.video.src = address; else this.video.removeAttribute("src");
    this.video.load();
  }

  get position() { return this.times[this.index]; }
  get start() { return this.times[0]; }
  get isPlaying() { return !this.video.paused && !this.video.ended; }

  // Where an interval ends that ends here: at this frame, or with the video where it is the last.
  get endPosition() { return this.index === this.times.length - 1 ? this.end : this.position; }

  goTo(seconds) { this.goToFrame(indexAt(this.times, seconds)); }

  goToFrame(index) {
    this.#show(Math.max(0, Math.min(index, this.times.length - 1)));
    this.#seek();
  }

  // By frames while it stands still: stops it first.
  step(count) {
    if (this.isPlaying) this.video.pause();
    this.goToFrame(this.index + count);
  }

  toggle() {
    if (this.isPlaying) { this.video.pause(); return; }
    const { loop } = this;
    if (loop && (this.position < loop.start || this.position >= loop.end)) this.goTo(loop.start);
    else if (this.index === this.times.length - 1) this.goToFrame(0);
    this.video.play().catch(() => {}); // its `error` says what is wrong
  }

  setSpeed(speed) { this.speed = this.video.playbackRate = speed; }

  // The stretch {start, end} that is played again and again, or null.
  setLoop(loop) {
    this.loop = loop;
    if (loop && (this.position < loop.start || this.position >= loop.end)) this.goTo(loop.start);
  }

  #show(index) {
    if (index === this.index) return;
    this.index = index;
    this.onMove();
  }

  get #isSeeking() { return this.video.seeking || this.#isSeekDue; }

  // Into the middle of the frame: its first moment may be rounded into the frame before. One seek at a
  // time: of seeks to A, B and A while the first runs, Chromium stops reading for B and then takes the
  // last for the first, which never ends, or plays the few frames that it has and stands.
  #seek() {
    if (!this.#isLoaded) return; // once it is
    this.#isSeekDue = this.video.seeking;
    if (this.#isSeekDue) return;
    const from = this.times[this.index], to = this.times[this.index + 1] ?? this.end;
    this.video.currentTime = Math.max(0, from + Math.min((to - from) / 2, 0.02) - this.#offset);
  }

  #follow() {
    if (this.#isFollowing) return;
    this.#isFollowing = true;
    const next = this.video.requestVideoFrameCallback
      ? (work) => this.video.requestVideoFrameCallback((_, frame) => work(frame.mediaTime))
      : (work) => requestAnimationFrame(() => work(this.video.currentTime));
    const follow = (mediaSeconds) => {
      if (!this.isPlaying) { this.#isFollowing = false; return; }
      if (!this.#isSeeking) {
        const index = indexAt(this.times, mediaSeconds + this.#offset + 1e-3);
        if (this.loop && (this.times[index] >= this.loop.end || this.times[index] < this.loop.start)) this.goTo(this.loop.start);
        else this.#show(index);
      }
      next(follow);
    };
    next(follow);
  }

  #ended() {
    if (this.loop) { this.goTo(this.loop.start); this.video.play().catch(() => {}); return; }
    this.#show(this.times.length - 1);
    this.onState();
  }
}
