// The marks of one video: what the server has, and the changes on their way to it.
// A change is shown at once and sent in its turn. Without a connection the changes wait, also
// while the page is reloaded. The page itself names what it adds, so that after a lost answer it
// sees what the server has taken, and sends nothing twice.

import { randomId } from "./api.js";

const retryMilliseconds = 2000;

// The union of stretches, in order, without touching neighbours.
function joined(stretches) {
  const found = [];
  for (const [start, end] of [...stretches].sort((a, b) => a[0] - b[0])) {
    const last = found.at(-1);
    if (last && start <= last[1] + 1e-6) last[1] = Math.max(last[1], end); else found.push([start, end]);
  }
  return found;
}

const without = (stretches, start, end) => stretches.flatMap(([a, b]) => [[a, Math.min(b, start)], [Math.max(a, end), b]].filter(([from, to]) => from < to));

const byTime = (a, b) => a.start - b.start || a.end - b.end;

// The marks and looked stretches after a list of operations.
export function applied({ marks, looked }, ops) {
  for (const { op, ...values } of ops) {
    if (op === "add") marks = [...marks, { note: "", ...values }];
    if (op === "edit") marks = marks.map((mark) => (mark.id === values.id ? { ...mark, ...values } : mark));
    if (op === "remove") marks = marks.filter((mark) => mark.id !== values.id);
    if (op === "look") looked = joined([...looked, [values.start, values.end]]);
    if (op === "unlook") looked = without(looked, values.start, values.end);
  }
  return { marks: [...marks].sort(byTime), looked };
}

// Whether an operation would change nothing: it was taken before the connection broke.
function isTaken({ marks, looked }, { op, ...values }) {
  const mark = marks.find((known) => known.id === values.id);
  if (op === "add") return Boolean(mark);
  if (op === "remove") return !mark;
  if (op === "edit") return Boolean(mark) && Object.entries(values).every(([name, value]) => mark[name] === value);
  if (op === "look") return looked.some(([start, end]) => start <= values.start + 1e-6 && values.end <= end + 1e-6);
  if (op === "unlook") return looked.every(([start, end]) => end <= values.start || values.end <= start);
  return false; // to refuse a proposal twice does no harm
}

export class Marks {
  #isSending = false;
  #isClosed = false;
  #isKept = false;
  #wake = () => {};

  // `onChange()` is called whenever what is shown or its state changes.
  constructor(api, project, video, onChange) {
    this.api = api;
    this.path = `api/videos/${video}`;
    this.key = `marks of ${project}/${video}`;
    this.onChange = onChange;
    this.base = { revision: 0, marks: [], looked: [], can_undo: false, can_redo: false };
    Object.assign(this, this.base);
    const text = localStorage.getItem(this.key), kept = JSON.parse(text ?? "{}");
    this.#isKept = text !== null;
    this.queue = kept.queue ?? []; // {kind: "changes" | "undo" | "redo", ops, sentAt: a revision}
    this.refused = kept.refused ?? []; // {ops, reason}
    this.begun = kept.begun ?? null; // {label, start}: an interval that has no end yet
    this.isConnected = true;
    window.addEventListener("online", this.#retry);
  }

  // What was kept from before, once the server's marks are here.
  async load() {
    this.base = await this.api.get(`${this.path}/marks`);
    const kept = this.queue.length;
    this.#show();
    this.#send();
    return kept;
  }

  async reload() {
    if (!this.#isSending) { this.base = await this.api.get(`${this.path}/marks`); this.#show(); }
  }

  close() {
    this.#isClosed = true;
    this.#wake();
    window.removeEventListener("online", this.#retry);
  }

  // One undoable change. Returns the ids of what it adds.
  change(ops) {
    const named = ops.map((op) => (op.op === "add" ? { ...op, id: randomId(6) } : op));
    this.#push({ kind: "changes", ops: named });
    return named.filter((op) => op.op === "add").map((op) => op.id);
  }

  undo() { this.#push({ kind: "undo", ops: [] }); }
  redo() { this.#push({ kind: "redo", ops: [] }); }

  tryAgain(index) {
    const [{ ops }] = this.refused.splice(index, 1);
    this.change(ops);
  }

  discard(index) {
    this.refused.splice(index, 1);
    this.#show();
  }

  begin(begun) {
    this.begun = begun;
    this.#show();
  }

  get canUndo() { return this.base.can_undo || this.queue.some((change) => change.kind === "changes"); }

  get canRedo() {
    const last = this.queue.at(-1)?.kind; // on its way
    return last === "undo" || (last !== "changes" && this.base.can_redo);
  }

  #push(change) {
    this.queue.push(change);
    this.#show();
    this.#send();
  }

  #show() {
    Object.assign(this, this.queue.reduce((state, change) => applied(state, change.ops), this.base));
    this.#keep();
    this.onChange();
  }

  // For a reload of the page, or its end. What another tab keeps is left to it.
  #keep() {
    const { queue, refused, begun } = this, hasKept = this.#isKept;
    this.#isKept = Boolean(queue.length || refused.length || begun);
    if (this.#isKept) localStorage.setItem(this.key, JSON.stringify({ queue, refused, begun }));
    else if (hasKept) localStorage.removeItem(this.key);
  }

  #retry = () => this.#wake();

  async #send() {
    if (this.#isSending) return;
    this.#isSending = true;
    while (this.queue.length && !this.#isClosed) {
      try {
        await this.#sendFirst();
        this.isConnected = true;
      } catch {
        this.isConnected = false;
        this.#show();
        await new Promise((resolve) => { this.#wake = resolve; setTimeout(resolve, retryMilliseconds); });
      }
      if (!this.#isClosed) this.#show();
    }
    this.#isSending = false;
  }

  // Raises where no answer came; then it is tried again.
  async #sendFirst() {
    const first = this.queue[0];
    if (first.sentAt !== undefined && await this.#wasTaken(first)) { this.queue.shift(); return; }
    const revision = first.sentAt = this.base.revision;
    this.#keep(); // that it was sent
    try {
      const body = first.kind === "changes" ? { ops: first.ops, base_revision: revision } : {};
      this.base = await this.api.post(`${this.path}/${first.kind}`, body);
      this.queue.shift();
    } catch (error) {
      if (!error.status || error.status >= 500) throw error;
      this.base = await this.api.get(`${this.path}/marks`);
      if (first.kind === "changes" && error.status === 409 && this.base.revision !== revision) return; // somebody changed them: once more
      this.queue.shift();
      if (first.kind === "changes") this.refused.push({ ops: first.ops, reason: error.message }); // else there was nothing left to undo or redo
    }
  }

  // Leaves in the change what the server does not have yet.
  async #wasTaken(change) {
    this.base = await this.api.get(`${this.path}/marks`);
    if (change.kind !== "changes") return this.base.revision > change.sentAt;
    change.ops = change.ops.filter((op) => !isTaken(this.base, op));
    return !change.ops.length;
  }
}
