// What both panels of the server's page need: its address, its token, messages, bars.

import { byId, element, percent } from "./timeline.js";

const token = new URLSearchParams(location.search).get("token");
export const headers = token ? { Authorization: "Bearer " + token } : {};

export function address(path) {
  const url = new URL(path, location.href);
  url.search = path.includes("?") ? path.slice(path.indexOf("?")) : "";
  return url;
}

export function socketAddress(path) {
  const url = address(path);
  url.protocol = url.protocol.replace("http", "ws");
  if (token) url.searchParams.set("token", token);
  return url;
}

export function showProblem(problem) {
  byId("problem").textContent = problem;
  byId("problem").hidden = !problem;
}

export function showBars(target, rows) {
  target.replaceChildren();
  for (const [label, score, colour] of rows) {
    const track = element("div", undefined, "track"), fill = element("div", undefined, "fill");
    fill.style.width = 100 * score + "%";
    fill.style.setProperty("--colour", colour);
    track.append(fill);
    target.append(element("div", label, "label"), track, element("div", percent(score), "score"));
  }
}
