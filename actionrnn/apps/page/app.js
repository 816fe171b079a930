// The two panels, and what the server says about its model.

import { makeTabs, showProblem, someOf, takeFiles } from "./common.js";
import { cancel, send } from "./file.js";
import { address, headers, noAnswer, problemOf } from "./server.js";
import { byId } from "./timeline.js";
import { start, stop } from "./webcam.js";

let model = null;

const choose = makeTabs(stop);
takeFiles((file) => {
  choose("file");
  send(file, model && model.limits);
});
byId("cancel").addEventListener("click", cancel);
byId("start").addEventListener("click", () => start(model));
byId("stop").addEventListener("click", stop);

async function showModel() {
  const reply = await fetch(address("labels"), { headers });
  if (!reply.ok) { showProblem(problemOf({ status: reply.status, text: await reply.text() })); return; }
  model = await reply.json();
  byId("model").textContent = someOf(model.labels);
  if (!model.can_stream) {
    byId("start").disabled = true;
    byId("webcam-note").textContent = "This model needs the whole clip, so it cannot follow a webcam; train one with sampling.rate_fps.";
  }
}

showModel().catch(() => showProblem(noAnswer));
