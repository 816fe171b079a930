// What the keys do to the marks of the video that is open. Everything is said in words as well.

import { plural } from "./dom.js";
import { stamp } from "./mark_list.js";
import { exactTime, limitsOf, misplaced, overlapOf, span } from "./mark_rules.js";

const watchedSeconds = 1.5; // a longer jump is not watched over

const isWhole = (selection) => Boolean(selection) && selection.start !== null && selection.end !== null;
const chooseFirst = "Choose a mark first: , and . go from one to the next.";
const noProposal = "No proposal is here: G goes to the next place.";

export class Labelling {
  // player; marks: of one video; isExclusive(): whether one label is on at a time.
  // listen: say(text, isProblem), changed(), chosen(item), write(field of the chosen mark).
  constructor(player, marks, isExclusive, listen) {
    Object.assign(this, { player, marks, isExclusive, listen });
    this.proposals = [];
    this.selection = null; // {start, end, label?, proposal?: its id}; one side may be null
    this.selected = null; // the id of a mark or of a proposal
    this.lockedBy = null;
    this.dragged = null; // a mark whose edge is being drawn
    this.watched = [player.position, player.position];
  }

  say(text, isProblem = false) { this.listen.say(text, isProblem); }

  // ---- what there is

  get chosen() { return this.marks.marks.find((mark) => mark.id === this.selected); }

  // The chosen proposal, or the one at the position.
  get proposal() {
    const { position } = this.player;
    return this.proposals.find((proposal) => proposal.id === this.selected) ?? this.proposals.find((proposal) => proposal.start <= position && position < proposal.end);
  }

  get labelsHere() {
    const { position } = this.player;
    return this.marks.marks.filter((mark) => mark.start <= position && position < mark.end).map((mark) => mark.label);
  }

  // The marks as they are shown: with the edge that is being drawn.
  get shownMarks() {
    const { dragged } = this;
    return dragged ? this.marks.marks.map((mark) => (mark.id === dragged.id ? { ...mark, ...dragged } : mark)) : this.marks.marks;
  }

  // Whether nothing may be changed; says why.
  #isLocked() {
    if (this.lockedBy) this.say(`${this.lockedBy} is labelling this video now; take another one, or wait.`, true);
    return Boolean(this.lockedBy);
  }

  // ---- marks

  // A label's key: over the selection; else it begins an interval here, or ends it.
  press(label) {
    if (this.#isLocked()) return;
    const { selection } = this, { begun } = this.marks;
    if (isWhole(selection)) {
      if (selection.proposal) this.setSelection({ ...selection, label });
      else if (this.#add({ ...selection, label })) this.setSelection(null);
      return;
    }
    if (begun && (begun.label === label || this.isExclusive())) {
      if (!this.#end(begun) || begun.label === label) return;
    }
    this.marks.begin({ label, start: this.player.position });
    this.say(`${label} begins at ${stamp(this.player.position)}`);
  }

  // The interval that was begun becomes a mark, whichever way one went since; false if it may not.
  #end({ label, start }) {
    const { position, endPosition } = this.player;
    const [from, to] = endPosition > start ? [start, endPosition] : [position, start];
    if (from < to && !this.#add({ label, start: from, end: to })) return false;
    this.marks.begin(null);
    if (from === to) this.say(`${label} is cancelled.`);
    return true;
  }

  // Adds a mark if it may be there; true if it is.
  #add({ label, start, end }, more = []) {
    const problem = overlapOf({ label, start, end }, this.marks.marks, this.isExclusive());
    if (problem) { this.say(problem, true); return false; }
    [this.selected] = this.marks.change([{ op: "add", label, start, end }, ...more]);
    this.say(`${label} ${span({ start, end })}`);
    return true;
  }

  edit(mark, given) {
    if (this.#isLocked()) return;
    const values = { ...given };
    for (const side of ["start", "end"]) if (side in given) values[side] = exactTime(given[side], this.player);
    const edited = { ...mark, ...values };
    if (Object.keys(values).every((name) => values[name] === mark[name])) return;
    const problem = misplaced(edited, this.player) || ("note" in values ? "" : overlapOf(edited, this.marks.marks, this.isExclusive()));
    if (problem) { this.say(problem, true); return; }
    this.marks.change([{ op: "edit", id: mark.id, ...values }]);
    this.say(`${edited.label} ${span(edited)}`);
  }

  // "start" or "end" of the chosen mark is here.
  setEdge(side) {
    const { chosen, player } = this;
    if (chosen) this.edit(chosen, { [side]: side === "start" ? player.position : player.endPosition }); else this.say(chooseFirst);
  }

  // How far a mark's edges may be drawn.
  limits(mark) { return limitsOf(mark, this.marks.marks, this.isExclusive(), this.player); }

  // An edge is drawn to {start, end}, or let go of where these are null.
  drag(mark, values, isDone) {
    if (values && this.#isLocked()) return;
    this.dragged = values && !isDone ? { id: mark.id, ...values } : null;
    if (values) this.player.goTo(values.start === mark.start ? values.end : values.start);
    if (isDone) { this.selected = mark.id; this.edit(mark, values); }
    this.listen.changed();
  }

  remove() {
    const { chosen } = this;
    if (!chosen) { this.say(chooseFirst); return; }
    if (this.#isLocked()) return;
    this.marks.change([{ op: "remove", id: chosen.id }]);
    this.say(`Deleted: ${chosen.label} ${span(chosen)}`);
  }

  write(field) { if (this.chosen) this.listen.write(field); else this.say(chooseFirst); }

  // "undo" or "redo".
  turn(kind) {
    if (this.#isLocked()) return;
    if (!(kind === "undo" ? this.marks.canUndo : this.marks.canRedo)) { this.say(`Nothing to ${kind}.`); return; }
    this.marks[kind]();
    this.say(kind === "undo" ? "Undone" : "Redone");
  }

  // ---- what was looked at

  // The stretch without jumps that leads here.
  moved() {
    const { position } = this.player, [from, to] = this.watched;
    const isJump = position < from - watchedSeconds || position > to + watchedSeconds;
    this.watched = isJump ? [position, position] : [Math.min(from, position), Math.max(to, position)];
  }

  look() {
    if (this.#isLocked()) return;
    const [start] = this.watched, end = this.player.endPosition;
    if (!(start < end)) { this.say("Play or step to where you have looked, then press U: a longer jump does not count."); return; }
    this.marks.change([{ op: "look", start, end }]);
    this.say(`Looked at ${span({ start, end })}: what is not marked there is none of the labels.`);
  }

  // The selection counts as not looked at again, but for its marks.
  unlook() {
    if (this.#isLocked()) return;
    if (!isWhole(this.selection)) { this.say("Select with I and O what was not looked at."); return; }
    const { start, end } = this.selection;
    this.marks.change([{ op: "unlook", start, end }]);
    this.say(`Not looked at: ${span({ start, end })}`);
    this.setSelection(null);
  }

  // ---- choosing

  choose(item) {
    this.selected = item?.id ?? null;
    if (item) this.listen.chosen(item);
    this.listen.changed();
  }

  goTo(item) {
    this.choose(item);
    this.player.goTo(item.start);
  }

  // To the next mark or proposal, or the one before.
  go(direction) {
    const items = [...this.marks.marks, ...this.proposals].sort((a, b) => a.start - b.start), { position } = this.player;
    const at = items.findIndex((item) => item.id === this.selected);
    const next = at >= 0 && items[at].start === position ? items[at + direction]
      : direction > 0 ? items.find((item) => item.start > position) : items.findLast((item) => item.start < position);
    if (!next) { this.say(direction > 0 ? "No later mark." : "No earlier mark."); return; }
    this.goTo(next);
    this.say(`${next.label} ${span(next)}${"score" in next ? ", proposed" : ""}`);
  }

  setSelection(selection) {
    this.selection = selection;
    if (this.player.loop) this.player.setLoop(this.loopable);
    this.listen.changed();
  }

  // The selection begins or ends here.
  selectSide(side) {
    const isStart = side === "start", at = isStart ? this.player.position : this.player.endPosition;
    const next = { ...(this.selection ?? { start: null, end: null }), [side]: at };
    if (isWhole(next) && next.start >= next.end) next[isStart ? "end" : "start"] = null;
    this.setSelection(next);
    this.say(`Selection ${isStart ? "from" : "to"} ${stamp(at)}`);
  }

  cancel() {
    const { begun } = this.marks;
    if (this.selection) { this.setSelection(null); return; }
    if (!begun) { this.choose(null); return; }
    this.marks.begin(null);
    this.say(`${begun.label} is cancelled.`);
  }

  // The selection, or the chosen mark or proposal; null if there is none.
  get loopable() { return isWhole(this.selection) ? this.selection : this.chosen ?? this.proposal ?? null; }

  loop() {
    const wasLooping = Boolean(this.player.loop), loop = wasLooping ? null : this.loopable;
    if (!loop && !wasLooping) { this.say("Select a stretch with I and O, or choose a mark, to loop it."); return; }
    this.player.setLoop(loop);
    this.say(loop ? `Loops ${span(loop)}` : "Loop off");
  }

  // ---- proposals

  // The corrected proposal or the selection of a lane; else the proposal as it is.
  accept() {
    if (this.#isLocked()) return;
    const selection = isWhole(this.selection) ? this.selection : null;
    if (selection && !selection.label) { this.say("Press the key of a label."); return; }
    const wanted = selection ?? this.proposal;
    if (!wanted) { this.say(noProposal); return; }
    const answered = selection ? selection.proposal : wanted.id, { start, end } = wanted;
    if (!this.#add(wanted, answered ? [{ op: "look", start, end }] : [])) return;
    if (selection) this.setSelection(null);
    if (answered) this.#answered(answered);
  }

  refuse() {
    const { proposal } = this;
    if (!proposal) { this.say(noProposal); return; }
    if (this.#isLocked()) return;
    const { id, label, start, end } = proposal;
    this.marks.change([{ op: "refuse", label, start, end }]);
    if (this.selection?.proposal === id) this.setSelection(null);
    this.say(`Refused: ${label} ${span(proposal)}`);
    this.#answered(id);
  }

  // The chosen mark in its fields; a proposal as a selection.
  correct() {
    if (this.chosen) { this.write("start"); return; }
    const { proposal } = this;
    if (!proposal) { this.say(noProposal); return; }
    const { id, label, start, end } = proposal;
    this.setSelection({ label, start, end, proposal: id });
    this.player.goTo(start);
    this.say("I and O set its begin and end, a label's key its label; Enter takes it.");
  }

  // On to the next one.
  #answered(id) {
    const answered = this.proposals.find((proposal) => proposal.id === id);
    this.proposals = this.proposals.filter((proposal) => proposal !== answered);
    const next = answered && this.proposals.find((proposal) => proposal.start >= answered.start);
    if (next) this.goTo(next);
  }

  // What came from the server in the meantime.
  propose(proposals) {
    this.proposals = [...proposals].sort((a, b) => a.start - b.start);
    this.listen.changed();
  }

  sayKept(count) { if (count) this.say(`${plural(count, "change")} from before ${count === 1 ? "is" : "are"} being sent.`); }
}
