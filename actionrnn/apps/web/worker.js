// Computes beside the page, so that it stays fluent: [id, method, ...arguments] comes in, [id, result,
// error] goes out, one after the other.

import { loadModel } from "./model.js";

let model = null, queue = Promise.resolve();

async function answer(method, given) {
  if (method !== "load") {
    const begun = performance.now(), answers = await model[method](...given);
    return { answers, took_ms: performance.now() - begun };
  }
  model = await loadModel();
  return { ...model.described, engine: model.engine };
}

self.onmessage = ({ data: [id, method, ...given] }) => {
  queue = queue.then(async () => {
    try {
      self.postMessage([id, await answer(method, given)]);
    } catch (error) {
      self.postMessage([id, null, error.message]);
    }
  });
};
