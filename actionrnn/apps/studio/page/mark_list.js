// The marks and proposals as a table beside the timeline, and the fields of the one that is chosen.

import { arrange, make, plural, setOptions, setText } from "./dom.js";

const shownRows = 150; // of thousands; buttons bring the others

// 75.2 -> 1:15.200
export function stamp(seconds) {
  const milliseconds = Math.round(seconds * 1000), whole = Math.floor(milliseconds / 1000);
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  const front = hours ? hours + ":" + String(minutes).padStart(2, "0") : minutes;
  return `${front}:${String(whole % 60).padStart(2, "0")}.${String(milliseconds % 1000).padStart(3, "0")}`;
}

// Seconds of "75.2", "1:15.2" or "0:01:15,2"; NaN of what is none of these.
export function secondsOf(text) {
  if (!/^\s*(\d+:){0,2}\d+([.,]\d*)?\s*$/.test(text)) return NaN;
  return text.trim().replace(",", ".").split(":").reduce((sum, part) => 60 * sum + Number(part), 0);
}

export class MarkList {
  #first = 0;
  #items = [];
  #made = new Map(); // the rows, and what each shows, by the ids of their items

  // listen: select(item), edit(mark, values), problem(text).
  constructor(home, listen) {
    this.listen = listen;
    this.count = make("h2");
    this.rows = make("tbody");
    this.before = make("button", { onclick: () => this.#turn(-1) }, "Earlier marks");
    this.after = make("button", { onclick: () => this.#turn(1) }, "Later marks");
    const head = make("tr", {}, ...["Label", "Begin", "End", "Note"].map((name) => make("th", { scope: "col" }, name)));
    this.table = make("table", { "aria-label": "Marks and proposals of this video" }, make("thead", {}, head), this.rows);
    this.empty = make("p", { className: "dim" }, "No marks yet: press a label's key where an action begins, and again where it ends.");
    this.editor = make("form", { className: "mark-editor", "aria-label": "The chosen mark" });
    this.scroll = make("div", { className: "mark-rows", tabIndex: 0, role: "region", "aria-label": "List of marks" }, this.before, this.table, this.after);
    home.append(this.count, this.editor, this.empty, this.scroll);
    this.#makeEditor();
  }

  // labels; marks and proposals in order of time; the chosen one's id; isReadOnly.
  show({ labels, marks, proposals, selected, isReadOnly }) {
    const isNew = selected !== this.selected;
    this.#items = [...marks, ...proposals].sort((a, b) => a.start - b.start);
    Object.assign(this, { labels, selected, isReadOnly });
    setText(this.count, plural(marks.length, "mark") + (proposals.length ? `, ${proposals.length} proposed` : ""));
    this.empty.hidden = this.#items.length > 0;
    this.scroll.hidden = !this.#items.length;
    const chosen = this.#items.findIndex((item) => item.id === selected);
    if (isNew && chosen >= 0 && (chosen < this.#first || chosen >= this.#first + shownRows)) this.#first = chosen - shownRows / 2;
    this.#fill();
    this.#showEditor(this.#items[chosen], isNew);
    if (isNew) this.#scrollTo(this.#made.get(selected)?.row);
  }

  // Puts the cursor into a field of the chosen mark: "label", "start", "end" or "note".
  edit(name) {
    this.fields[name].focus();
    this.fields[name].select?.();
  }

  #turn(direction) {
    this.#first += direction * shownRows;
    this.#fill();
    this.scroll.scrollTop = 0;
    this.scroll.focus();
  }

  // A row is made anew only where what it shows is new: a browser takes its time to lay out so many.
  #fill() {
    const last = Math.max(0, this.#items.length - shownRows);
    this.#first = Math.round(Math.min(Math.max(this.#first, 0), last));
    const focused = this.rows.contains(document.activeElement) ? document.activeElement.closest("tr").dataset.id : null;
    const colours = new Map(this.labels.map((label) => [label.name, label.colour]));
    const made = this.#items.slice(this.#first, this.#first + shownRows).map((item) => this.#rowOf(item, colours.get(item.label) ?? "#8b929b"));
    this.#made = new Map(made.map((one) => [one.id, one]));
    arrange(this.rows, made.map(({ row }) => row));
    for (const { id, row, choose } of made) {
      row.classList.toggle("on", id === this.selected);
      choose.ariaPressed = String(id === this.selected);
    }
    this.table.setAttribute("aria-rowcount", this.#items.length + 1);
    this.before.hidden = this.#first === 0;
    this.after.hidden = this.#first === last;
    if (focused) this.#made.get(focused)?.choose.focus({ preventScroll: true });
  }

  #rowOf(item, colour) {
    const { id, label, start, end, note, score } = item, shown = JSON.stringify([label, start, end, note, score, colour]);
    const known = this.#made.get(id);
    return known?.shown === shown ? known : { id, shown, ...this.#makeRow(item, colour) };
  }

  #makeRow(item, colour) {
    const isProposal = "score" in item, choose = make("button", { onclick: () => this.listen.select(item) }, item.label);
    const swatch = make("span", { className: isProposal ? "swatch proposed" : "swatch" });
    swatch.style.setProperty("--colour", colour);
    const note = isProposal ? [make("span", { className: "visually-hidden" }, "proposed, "), `${Math.round(100 * item.score)} %`] : [item.note ?? ""];
    const row = make("tr", {}, make("td", { className: "name", title: item.label }, swatch, choose), make("td", {}, stamp(item.start)), make("td", {}, stamp(item.end)), make("td", { className: "note" }, ...note));
    row.dataset.id = item.id;
    row.addEventListener("click", (event) => { if (event.target !== choose) this.listen.select(item); });
    return { row, choose };
  }

  // Without moving the page.
  #scrollTo(row) {
    if (!row) return;
    const top = row.offsetTop, { scrollTop, clientHeight } = this.scroll;
    if (top < scrollTop + 30 || top + row.offsetHeight > scrollTop + clientHeight) this.scroll.scrollTop = top - clientHeight / 2;
  }

  #makeEditor() {
    const input = (properties) => make("input", { autocomplete: "off", spellcheck: false, ...properties });
    this.fields = { label: make("select"), start: input({ inputMode: "decimal", size: 9 }), end: input({ inputMode: "decimal", size: 9 }), note: input({ maxLength: 500 }) };
    const names = { label: "Label", start: "Begin", end: "End", note: "Note" };
    for (const [name, field] of Object.entries(this.fields)) {
      this.editor.append(make("label", { className: name }, make("span", {}, names[name]), field));
      field.addEventListener("change", () => this.#changed(name));
      field.addEventListener("keydown", (event) => { if (event.key === "Escape") { this.#fillFields(this.mark); field.blur(); } });
    }
    this.editor.addEventListener("submit", (event) => {
      event.preventDefault();
      document.activeElement.blur(); // its change is taken, and the keys are the timeline's again
    });
    this.editor.append(make("button", { hidden: true }, "Take over"));
  }

  // A proposal is shown, too, but answered elsewhere.
  #showEditor(item, isNew) {
    this.mark = item && !("score" in item) ? item : null;
    for (const field of Object.values(this.fields)) field.disabled = !this.mark || this.isReadOnly;
    setOptions(this.fields.label, this.labels.map(({ name }) => [name, name]));
    this.#fillFields(item, isNew ? null : document.activeElement);
  }

  // `kept` is being written in.
  #fillFields(item, kept = null) {
    const values = item ? { label: item.label, start: stamp(item.start), end: stamp(item.end), note: item.note ?? "" } : { label: "", start: "", end: "", note: "" };
    for (const [name, field] of Object.entries(this.fields)) if (field !== kept) field.value = values[name];
  }

  #changed(name) {
    const { mark } = this, text = this.fields[name].value;
    if (!mark) return;
    const value = name === "start" || name === "end" ? secondsOf(text) : text.trim();
    if (Number.isNaN(value)) { this.listen.problem(`${text}: write a time as 75.2 or 1:15.2`); return; }
    this.listen.edit(mark, { [name]: value });
  }
}
