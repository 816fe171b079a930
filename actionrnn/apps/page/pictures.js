// The pictures of a playing video as the server's streams take them.

const shortSide = 288, quality = 0.85, fallbackFps = 12, mostFps = 25, stillMilliseconds = 40;

// Its time in seconds as a little-endian float64, then a small JPEG; null if there is none.
async function pictureOf(video, seconds) {
  const small = document.createElement("canvas");
  const scale = Math.min(1, shortSide / Math.min(video.videoWidth, video.videoHeight));
  small.width = Math.max(1, Math.round(video.videoWidth * scale));
  small.height = Math.max(1, Math.round(video.videoHeight * scale));
  small.getContext("2d").drawImage(video, 0, 0, small.width, small.height);
  const blob = await new Promise((resolve) => small.toBlob(resolve, "image/jpeg", quality));
  if (!blob) return null;
  const time = new DataView(new ArrayBuffer(8));
  time.setFloat64(0, seconds, true);
  return new Blob([time.buffer, blob]);
}

// Milliseconds between two pictures: twice as often as the model samples, so that each sample is a
// fresh one. rateFps: null if the model uses every frame.
const intervalOf = (rateFps) => 1000 / Math.min(2 * (rateFps || fallbackFps), mostFps);

// Sends one picture at a time over a socket, the next when the last is answered.
export class PictureStream {
  sentSeconds = -Infinity; // the time of the newest picture that was sent
  #isClosed = false;
  #answered = 0;

  // rateFps: of the model. secondsNow(): the time of what the video shows, null at its end.
  // listen: opened(), answered(answer), problem(text), ended(text): "" or what is wrong.
  constructor(socket, video, rateFps, secondsNow, listen) {
    Object.assign(this, { socket, video, rateFps, secondsNow, listen });
    socket.onopen = () => {
      if (this.#isClosed) return;
      this.begun = performance.now();
      listen.opened();
      this.#send();
    };
    socket.onmessage = ({ data }) => {
      if (!this.#isClosed) this.#take(JSON.parse(data));
    };
    socket.onclose = ({ reason, code }) => {
      if (!this.#isClosed) listen.ended(reason || (code === 1006 ? "The server has ended the connection; is it still running?" : ""));
    };
  }

  close() {
    this.#isClosed = true;
    this.socket.close();
  }

  // "3.9 answers a second, the last after 40 ms"
  get pace() {
    const rate = this.#answered / Math.max((performance.now() - this.begun) / 1000, 0.1);
    return `${rate.toFixed(1)} answers a second, the last after ${Math.round(this.answeredAt - this.sentAt)} ms`;
  }

  #take(answer) {
    if (answer.error) { this.listen.problem(answer.error); return; }
    this.answeredAt = performance.now();
    this.#answered += answer.steps.length;
    this.listen.answered(answer);
    setTimeout(() => this.#send(), intervalOf(this.rateFps) - (performance.now() - this.sentAt));
  }

  get #isOver() { return this.#isClosed || this.socket.readyState !== WebSocket.OPEN; }

  async #send() {
    if (this.#isOver) return;
    const seconds = this.secondsNow();
    if (seconds === null) { this.listen.ended(""); return; }
    if (seconds <= this.sentSeconds) { setTimeout(() => this.#send(), stillMilliseconds); return; } // it stands still
    const picture = await pictureOf(this.video, seconds);
    if (this.#isOver || !picture) return;
    this.sentAt = performance.now();
    this.sentSeconds = seconds;
    this.socket.send(picture);
  }
}
