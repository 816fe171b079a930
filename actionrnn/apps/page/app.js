// The two panels, and what the server says about its model.

import { address, headers, showProblem } from "./common.js";
import { cancel, send } from "./file.js";
import { byId } from "./timeline.js";
import { start, stop } from "./webcam.js";

let model = null;

function choose(name) {
  for (const panel of ["file", "webcam"]) {
    byId(panel + "-panel").hidden = panel !== name;
    byId(panel + "-tab").setAttribute("aria-selected", String(panel === name));
  }
  if (name !== "webcam") stop();
  showProblem("");
}

byId("file-tab").addEventListener("click", () => choose("file"));
byId("webcam-tab").addEventListener("click", () => choose("webcam"));
byId("file").addEventListener("change", (event) => {
  if (event.target.files.length) send(event.target.files[0], model && model.limits);
  event.target.value = "";
});
byId("cancel").addEventListener("click", cancel);
byId("start").addEventListener("click", () => start(model));
byId("stop").addEventListener("click", stop);

const drop = byId("drop");
for (const name of ["dragenter", "dragover", "dragleave", "drop"])
  window.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) {
      choose("file");
      send(event.dataTransfer.files[0], model && model.limits);
    }
  });

async function showModel() {
  const reply = await fetch(address("labels"), { headers });
  if (!reply.ok) { showProblem((await reply.json()).error); return; }
  model = await reply.json();
  const some = model.labels.slice(0, 6).join(", "), more = model.labels.length > 6 ? ", ..." : "";
  byId("model").textContent = `${model.labels.length} actions: ${some}${more}`;
  if (!model.can_stream) {
    byId("start").disabled = true;
    byId("webcam-note").textContent = "This model needs the whole clip, so it cannot follow a webcam; train one with sampling.rate_fps.";
  }
}

showModel().catch(() => showProblem("The server does not answer; is it still running?"));
