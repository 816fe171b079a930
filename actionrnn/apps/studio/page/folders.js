// The dialog of the folders that the server was started with: --videos DIR.

import { field, make, openDialog, plural } from "./dom.js";

// groupOf(): who or what is in the videos, as the step says.
export function openFolders(app, groupOf) {
  const chosen = new Set(), where = make("p", { className: "dim" }), entries = make("ul", { className: "entries" });
  const folder = make("select", {}, ...app.project.folders.map((name) => make("option", { value: name }, name)));
  const add = make("button", { className: "main", type: "button" }), problem = make("p", { className: "problem", role: "alert" });
  let path = "", asked = "";

  function count() {
    add.textContent = chosen.size ? `Add ${plural(chosen.size, "video")}` : "Add videos";
    add.disabled = !chosen.size;
  }
  function rowOf({ name, kind, size_bytes: size }) {
    const inner = path ? `${path}/${name}` : name;
    if (kind === "folder") return make("li", {}, make("button", { type: "button", onclick: () => show(inner) }, `${name}/`));
    const box = make("input", { type: "checkbox", value: inner, checked: chosen.has(inner) });
    box.addEventListener("change", () => { if (box.checked) chosen.add(inner); else chosen.delete(inner); count(); });
    return make("li", {}, make("label", {}, box, make("span", {}, name), make("span", {}, `${(size / 1e6).toFixed(1)} MB`)));
  }
  async function show(next) {
    const mine = asked = `${folder.value}/${next}`;
    problem.textContent = "";
    try {
      const found = await app.api.get(`api/browse?folder=${encodeURIComponent(folder.value)}&path=${encodeURIComponent(next)}`);
      if (mine !== asked) return; // another folder is wanted meanwhile
      path = next;
      where.textContent = mine;
      const up = make("li", {}, make("button", { type: "button", onclick: () => show(path.split("/").slice(0, -1).join("/")) }, "One folder up"));
      entries.replaceChildren(...(path ? [up] : []), ...found.entries.map(rowOf));
      if (!entries.children.length) entries.append(make("li", {}, make("label", {}, "No video and no folder here.")));
    } catch (error) {
      problem.textContent = error.message;
    }
  }
  folder.addEventListener("change", () => { chosen.clear(); count(); show(""); });
  add.addEventListener("click", async () => {
    add.disabled = true;
    try {
      const { failed } = await app.api.post("api/videos/import", { folder: folder.value, paths: [...chosen], group: groupOf() || null });
      for (const { error } of failed) app.notify(error, true);
      await app.refresh();
      dialog.close();
    } catch (error) {
      problem.textContent = error.message;
      count();
    }
  });
  const all = make("button", { type: "button", onclick: () => { for (const box of entries.querySelectorAll("input:not(:checked)")) box.click(); } }, "All of this folder");
  const dialog = openDialog("Videos on the server", field("Folder", folder), where, entries, problem,
    make("div", { className: "actions" }, add, all, make("button", { type: "button", onclick: () => dialog.close() }, "Cancel")));
  count();
  show("");
}
