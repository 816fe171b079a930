// A model and one recording: frames go in one by one, scores come out, the state carries the rest,
// as in the toolkit's streams.

import { squareOf } from "./scaling.js";

const arrays = { float32: Float32Array, float64: Float64Array };
const close = 1e-3; // of scores
const engines = { // the better one first
  WebGPU: { library: "ort.webgpu.min.js", runtime: "ort-wasm-simd-threaded.asyncify", provider: "webgpu" },
  WebAssembly: { library: "ort.wasm.min.js", runtime: "ort-wasm-simd-threaded", provider: "wasm" },
};

const here = (name) => new URL(name, import.meta.url).href;

// The model of model.json, on the first engine that computes the scores that it should.
export async function loadModel() {
  const reply = await fetch(here("model.json"));
  if (!reply.ok) throw new Error(`model.json cannot be loaded (${reply.status}).`);
  const described = await reply.json(), names = await hasGpu() ? Object.keys(engines) : ["WebAssembly"];
  for (const name of names) {
    try {
      const model = await Model.open(described, name);
      if (await model.computesRight()) return model;
      throw new Error("This browser computes other scores than those of the model; use another one.");
    } catch (error) {
      if (name === names.at(-1)) throw error;
      console.info(`${name} is not used: ${error.message}`);
    }
  }
}

// One that imitates a GPU on the processor is slower than WebAssembly.
async function hasGpu() {
  try {
    const adapter = await navigator.gpu?.requestAdapter();
    return Boolean(adapter) && !adapter.info.isFallbackAdapter;
  } catch {
    return false;
  }
}

async function openSession(name, file) {
  const { library, runtime, provider } = engines[name], ort = await import(here(library));
  ort.env.wasm.wasmPaths = { mjs: here(runtime + ".js"), wasm: here(runtime + ".wasm") };
  const session = await ort.InferenceSession.create(here(file), { executionProviders: [provider] });
  return [session, ort];
}

class Model {
  static async open(described, name) {
    const model = new Model();
    model.described = described;
    [model.encoder] = await openSession(name, described.encoder.file);
    // the state is in float64, which the library for WebGPU lacks
    [model.head, model.ort] = await openSession("WebAssembly", described.step.file);
    const threads = model.ort.env.wasm.numThreads;
    model.engine = name === "WebGPU" || threads === 1 ? name : `${name}, ${threads} threads`;
    model.begin();
    return model;
  }

  // A new recording.
  begin() {
    this.state = Object.fromEntries(Object.entries(this.described.step.state).map(([name, { shape, type }]) => {
      const dims = [1, ...shape], size = dims.reduce((product, side) => product * side, 1);
      return [name, new this.ort.Tensor(type, new arrays[type](size), dims)];
    }));
    this.square = this.features = null;
    this.repeats = false;
    this.unanswered = []; // seconds
  }

  // A frame (RGBA `data`, `width`, `height`), or null: that of the step before is shown again. The
  // answers that are now known: `pts_seconds`, `scores` of then and `so_far`, and how `far` each is
  // from those for the nearest label, if the model says 'none of these'.
  async push(frame, pts_seconds) {
    await this.#encode(frame);
    this.unanswered.push(pts_seconds);
    const answer = await this.#step();
    return this.unanswered.length > this.described.step.delay_steps ? [{ pts_seconds: this.unanswered.shift(), ...answer }] : [];
  }

  // The recording has ended: the answers for the steps that wait.
  async finish() {
    const waiting = this.unanswered, answers = [];
    for (let step = 0; waiting.length && step < this.described.step.delay_steps; step++) answers.push(await this.#step());
    this.begin();
    return answers.slice(answers.length - waiting.length).map((answer, index) => ({ pts_seconds: waiting[index], ...answer }));
  }

  async #encode(frame) {
    const { preprocessing, inputs, input_shape } = this.described.encoder;
    // where changes are encoded, the first repetition is one: from moving to standing still
    if (!frame && (preprocessing.modality === "rgb" || this.repeats)) return;
    const square = frame ? squareOf(frame, preprocessing) : this.square;
    const views = viewsOf(square, this.square ?? square, preprocessing);
    this.square = square;
    this.repeats = !frame;
    const { features } = await this.encoder.run({ [inputs[0]]: new this.ort.Tensor("uint8", views, input_shape) });
    this.features = new this.ort.Tensor("float32", features.data, [1, features.data.length]);
  }

  async #step() {
    const found = await this.head.run({ features: this.features, ...this.state });
    this.state = Object.fromEntries(Object.keys(this.state).map((name) => [name, found["new_" + name]]));
    const scores = [...found.scores.data], so_far = this.#probabilities(this.state.so_far.data);
    return { scores, so_far, far: this.#distance(scores), so_far_far: this.#distance(so_far) };
  }

  #probabilities(logits) {
    if (this.described.head.multi_label) return Array.from(logits, (logit) => 1 / (1 + Math.exp(-logit)));
    const largest = Math.max(...logits), raised = Array.from(logits, (logit) => Math.exp(logit - largest));
    const sum = raised.reduce((total, one) => total + one, 0);
    return raised.map((one) => one / sum);
  }

  // Squared, as `distances` of the exported runner.
  #distance(scores) {
    const none = this.described.none_of_these;
    if (!none) return undefined;
    const logarithms = scores.map((score) => Math.log(Math.max(score, none.smallest_score)));
    const squares = none.means.map((mean) => none.whitening[0].reduce((sum, _, column) => {
      const along = logarithms.reduce((total, value, row) => total + (value - mean[row]) * none.whitening[row][column], 0);
      return sum + along * along;
    }, 0));
    return Math.min(...squares);
  }

  // Whether a made-up frame has the scores that it had where the model was exported.
  async computesRight() {
    const { width, height, scores } = this.described.check, data = new Uint8ClampedArray(4 * width * height);
    for (let y = 0, at = 0; y < height; y++)
      for (let x = 0; x < width; x++, at += 4)
        for (let colour = 0; colour < 3; colour++) data[at + colour] = ((2 * colour + 1) * x + (3 - colour) * y) % 256;
    const answers = [...await this.push({ data, width, height }, 0), ...await this.finish()];
    this.begin();
    return answers[0].scores.every((score, index) => Math.abs(score - scores[index]) < close);
  }
}

// As `Preprocessing.views`: the frame, what has changed since the one before, or both.
function viewsOf(square, before, { modality, motion_gain }) {
  if (modality === "rgb") return square;
  const most = Math.floor(255 / motion_gain);
  const motion = square.map((level, at) => Math.min(Math.abs(level - before[at]), most) * motion_gain);
  if (modality === "rgb_diff") return motion;
  const both = new Uint8Array(2 * square.length);
  both.set(square);
  both.set(motion, square.length);
  return both;
}
