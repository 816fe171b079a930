// The panels, and what the server says of its model.

import { address, byId, headers, say } from "./common.js";
import { cancel, send } from "./file.js";
import { start, stop } from "./webcam.js";

let model = null;

function choose(name) {
  for (const panel of ["file", "webcam"]) {
    byId(panel + "-panel").hidden = panel !== name;
    byId(panel + "-tab").setAttribute("aria-selected", String(panel === name));
  }
  if (name !== "webcam") stop();
  say("");
  window.dispatchEvent(new Event("resize"));
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

async function greet() {
  const reply = await fetch(address("labels"), { headers });
  if (!reply.ok) { say((await reply.json()).error); return; }
  model = await reply.json();
  const some = model.labels.slice(0, 6).join(", "), more = model.labels.length > 6 ? ", ..." : "";
  byId("model").textContent = `knows ${model.labels.length} actions: ${some}${more}`;
  if (!model.can_stream) {
    byId("start").disabled = true;
    byId("webcam-note").textContent = "This model needs the whole clip, so it cannot follow a webcam; train one with sampling.rate_fps.";
  }
}

greet().catch(() => say("The server does not answer; is it still running?"));
