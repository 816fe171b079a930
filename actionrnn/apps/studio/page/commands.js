// What can be done in the step Label, each with its keys and its button.

import { make, openDialog } from "./dom.js";
import { ariaKey, shownKey } from "./keys.js";
import { speeds } from "./player.js";

// [its button, what it does in words, its keys, whether it repeats while a key is held, function of
// the step: {player, tracks, labelling, nextPlace(), showSpeed(), help()}]
const table = [
  ["Play", "Play or stop", [" "], false, ({ player }) => player.toggle()],
  ["« 1 s", "A second back", ["Shift+ArrowLeft"], true, ({ player }) => player.goTo(player.position - 1)],
  ["‹ Frame", "A frame back", ["ArrowLeft"], true, ({ player }) => player.step(-1)],
  ["Frame ›", "A frame on", ["ArrowRight"], true, ({ player }) => player.step(1)],
  ["1 s »", "A second on", ["Shift+ArrowRight"], true, ({ player }) => player.goTo(player.position + 1)],
  ["‹ Mark", "To the mark or proposal before", ["Ctrl+ArrowLeft", ","], true, ({ labelling }) => labelling.go(-1)],
  ["Mark ›", "To the next mark or proposal", ["Ctrl+ArrowRight", "."], true, ({ labelling }) => labelling.go(1)],
  ["Loop", "Loop the selection, or the chosen mark; and no longer", ["L"], false, (step) => { step.labelling.loop(); step.showSpeed(); }],
  ["Slower", "Slower", ["S"], false, (step) => changeSpeed(step, -1)],
  ["Faster", "Faster", ["F"], false, (step) => changeSpeed(step, 1)],
  ["Zoom out", "Zoom out", ["-"], true, ({ tracks }) => tracks.zoom(0.5)],
  ["Zoom in", "Zoom in", ["+", "="], true, ({ tracks }) => tracks.zoom(2)],
  ["From here", "The selection begins here; a label's key then marks it", ["I"], false, ({ labelling }) => labelling.selectSide("start")],
  ["To here", "The selection ends here", ["O"], false, ({ labelling }) => labelling.selectSide("end")],
  ["Cancel", "Forget the selection, or the interval that was begun", ["Escape"], false, ({ labelling }) => labelling.cancel()],
  ["Looked until here", "What was played or stepped through until here was looked at: what is not marked there is none of the labels", ["U"], false, ({ labelling }) => labelling.look()],
  ["Not looked at", "The selection was not looked at", ["Shift+U"], false, ({ labelling }) => labelling.unlook()],
  ["Begins here", "The chosen mark begins here", ["Shift+I"], false, ({ labelling }) => labelling.setEdge("start")],
  ["Ends here", "The chosen mark ends here", ["Shift+O"], false, ({ labelling }) => labelling.setEdge("end")],
  ["Note", "Write a note at the chosen mark", ["C"], false, ({ labelling }) => labelling.write("note")],
  ["Delete", "Delete the chosen mark", ["Delete"], false, ({ labelling }) => labelling.remove()],
  ["Undo", "Undo", ["Ctrl+Z"], false, ({ labelling }) => labelling.turn("undo")],
  ["Redo", "Redo", ["Ctrl+Shift+Z", "Ctrl+Y"], false, ({ labelling }) => labelling.turn("redo")],
  ["Next place", "Go to the place that the model is least sure of", ["G"], false, (step) => step.nextPlace()],
  ["Accept", "Accept the proposal, or the selection of a label", ["Enter"], false, ({ labelling }) => labelling.accept()],
  ["Refuse", "Refuse the proposal", ["N"], false, ({ labelling }) => labelling.refuse()],
  ["Correct", "Correct the proposal, or the chosen mark", ["E"], false, ({ labelling }) => labelling.correct()],
  ["Keys", "Show the keys", ["?"], false, (step) => step.help()],
];

export const commands = table.map(([name, text, keys, isRepeated, run]) => ({ name, text, keys, isRepeated, run }));

function changeSpeed(step, by) {
  const speed = speeds[speeds.indexOf(step.player.speed) + by];
  if (!speed) return;
  step.player.setSpeed(speed);
  step.showSpeed();
}

export function buttons(step, name, names) {
  const group = make("div", { className: "tools", role: "group", "aria-label": name });
  for (const wanted of names) {
    const { text, keys, run } = commands.find((command) => command.name === wanted);
    group.append(make("button", { type: "button", onclick: () => { if (step.labelling) run(step); }, title: text, "data-command": wanted, "aria-keyshortcuts": keys.map(ariaKey).join(" ") },
      make("span", {}, wanted), make("kbd", { "aria-hidden": "true" }, shownKey(keys[0]))));
  }
  return group;
}

export function showKeys(labels) {
  const row = (keys, text) => make("tr", {}, make("td", {}, ...keys.map((key) => make("kbd", {}, shownKey(key)))), make("td", {}, text));
  const rows = [
    ...labels.filter(({ key }) => key).map(({ key, name }) => row([key], `${name}: begin it, and end it; or mark the selection`)),
    ...commands.map(({ keys, text }) => row(keys.filter((key) => key !== "="), text)), // the same key as +
  ];
  const close = make("button", { className: "main" }, "Close");
  const table = make("div", { className: "key-table", tabIndex: 0, role: "region", "aria-label": "Keys" }, make("table", {}, make("tbody", {}, ...rows)));
  const dialog = openDialog("Keys", table, make("div", { className: "actions" }, close));
  close.addEventListener("click", () => dialog.close());
  close.focus();
}
