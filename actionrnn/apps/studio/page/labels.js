// The dialog of the labels: their names, keys and colours.

import { make, openDialog } from "./dom.js";

function rowOf(label, onRemove) {
  const name = make("input", { value: label.name, required: true, maxLength: 80, autocomplete: "off", "aria-label": "Name" });
  const key = make("input", { value: label.key, maxLength: 1, size: 1, autocomplete: "off", className: "key", "aria-label": `Key of ${label.name || "the new label"}` });
  const colour = make("input", { type: "color", value: label.colour, "aria-label": `Colour of ${label.name || "the new label"}` });
  const remove = make("button", { type: "button", "aria-label": `Remove ${label.name || "the new label"}` }, "Remove");
  const home = make("div", { className: "label-row" }, colour, name, key, remove);
  const row = { home, name, key, colour, was: label.was };
  remove.addEventListener("click", () => onRemove(row));
  return row;
}

// What is wrong with the labels, in one line; "" if nothing is. `allowed`: the keys that there are.
function problemOf(labels, allowed) {
  const names = new Set(), keys = new Map();
  for (const { name, key } of labels) {
    if (!name) return "A label has no name.";
    if (names.has(name)) return `${name} is there twice.`;
    if (!allowed.includes(key)) return `The key ${key} of ${name} is a command of the step Label, or no digit and no letter; take one of ${allowed}.`;
    if (key && keys.has(key)) return `${keys.get(key)} and ${name} have the same key, ${key}.`;
    names.add(name);
    keys.set(key, name);
  }
  return "";
}

export function openLabels(app) {
  const rows = [], list = make("div", { className: "label-rows" });
  const problem = make("p", { className: "problem", role: "alert" });

  function add(label) {
    const row = rowOf(label, (gone) => {
      rows.splice(rows.indexOf(gone), 1);
      gone.home.remove();
      more.focus();
    });
    rows.push(row);
    list.append(row.home);
    return row;
  }
  const addNew = () => {
    const { keys, colours } = app.project, taken = rows.map((row) => row.key.value);
    return add({ name: "", key: [...keys].find((key) => !taken.includes(key)) ?? "", colour: colours[rows.length % colours.length] });
  };
  const more = make("button", { type: "button", onclick: () => addNew().name.focus() }, "Add a label");
  const several = make("input", { type: "checkbox", id: "several", checked: app.project.settings.multi_label });
  const save = make("button", { className: "main" }, "Save");
  const form = make("form", { className: "labels-form" },
    make("p", { className: "dim" }, "One label for each action; what is looked at and not marked needs none. Its key begins and ends an interval in the step Label. Where a label is renamed, its marks follow."),
    make("div", { className: "label-row head dim", "aria-hidden": "true" }, make("span", {}, "Colour"), make("span", {}, "Name"), make("span", {}, "Key")),
    list, more, make("label", { className: "check" }, several, "Several labels may be on at once"), problem,
    make("div", { className: "actions" }, save, make("button", { type: "button", onclick: () => dialog.close() }, "Cancel")));

  let base = app.project.settings_revision; // of what is shown here: another tab's changes since are not overwritten
  for (const label of app.project.labels) add({ ...label, was: label.name });
  if (!rows.length) { addNew(); addNew(); }
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const sent = [...rows], labels = sent.map((row) => ({ name: row.name.value.trim(), key: row.key.value.trim().toLowerCase(), colour: row.colour.value, was: row.was }));
    problem.textContent = problemOf(labels, app.project.keys);
    if (problem.textContent) return;
    save.disabled = true;
    try {
      const saved = await app.api.put(`api/labels?base_revision=${base}`, labels.map(({ was, ...label }) => (was && was !== label.name ? { ...label, was } : label)));
      base = saved.settings_revision;
      sent.forEach((row, index) => { row.was = labels[index].name; }); // should the rest be refused
      if (several.checked !== saved.settings.multi_label) await app.api.put(`api/settings?base_revision=${base}`, { multi_label: several.checked });
      await app.refresh();
      dialog.close();
    } catch (error) {
      if (error.status === 409) await app.refresh(); // what others did is there when this is opened again
      problem.textContent = error.message;
    } finally {
      save.disabled = false;
    }
  });
  const dialog = openDialog("Labels and keys", form);
  (rows.find((row) => !row.name.value) ?? rows[0]).name.focus();
}
