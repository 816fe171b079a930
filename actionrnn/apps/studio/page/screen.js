// The picture of a video: its file, or where this browser cannot play that, a copy that the server makes.

import { request } from "./api.js";
import { make, setText } from "./dom.js";

const pauseMilliseconds = 1000;

export const pause = () => new Promise((resolve) => { setTimeout(resolve, pauseMilliseconds); });

export class Screen {
  #path = null; // of the video's file, null: none is shown
  #isCopy = false;

  // setAddress(address) shows what is there, or nothing for "".
  constructor(api, setAddress) {
    Object.assign(this, { api, setAddress });
    this.video = make("video", { playsInline: true, preload: "auto", tabIndex: -1 });
    this.note = make("p", { className: "unplayable", hidden: true });
    this.home = make("div", { className: "screen" }, this.video, this.note);
    this.video.addEventListener("error", () => this.#failed());
  }

  show(path, isPlayable) {
    this.#path = path;
    this.#isCopy = !isPlayable;
    if (!isPlayable) { this.#showCopy(); return; }
    this.#say("");
    this.setAddress(this.api.url(path));
  }

  leave() {
    this.#path = null;
    this.video.pause();
  }

  #failed() {
    if (!this.#path || !this.video.getAttribute("src")) return;
    if (this.#isCopy) this.#say("This browser cannot play the copy either; convert the video to .mp4 (H.264) and add that."); else this.show(this.#path, false);
  }

  // Once it is made.
  async #showCopy() {
    const path = this.#path, copy = `${path}?copy=1`;
    this.setAddress("");
    this.#say("A copy that this browser can play is being made.");
    try {
      while (await isMaking(copy) && path === this.#path) await pause();
      if (path !== this.#path) return;
      this.#say("");
      this.setAddress(this.api.url(copy));
    } catch (error) {
      if (path === this.#path) this.#say(`This browser cannot play the video: ${error.message}`);
    }
  }

  #say(text) {
    setText(this.note, text);
    this.note.hidden = !text;
  }
}

// Whether the server still makes it; the file itself is not read here.
async function isMaking(path) {
  const stop = new AbortController(), { status } = await request("GET", path, undefined, stop.signal);
  stop.abort();
  return status === 202;
}
