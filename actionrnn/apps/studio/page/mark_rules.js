// Which marks may be: within the video, on times of its frames, and not over each other.

import { stamp } from "./mark_list.js";
import { indexAt } from "./player.js";

const writtenSeconds = 6e-4; // a frame's time is written in whole milliseconds

export const span = ({ start, end }) => `${stamp(start)} to ${stamp(end)}`;

// isExclusive: one label is on at a time; else only marks of one label may not overlap.
const isConflict = (mark, other, isExclusive) => mark.id !== other.id && (isExclusive || mark.label === other.label);

// Why a mark, which may be one of the marks that is changed, may not be there; "" if it may.
export function overlapOf(mark, marks, isExclusive) {
  const other = marks.find((known) => known.start < mark.end && mark.start < known.end && isConflict(known, mark, isExclusive));
  return other ? `${mark.label} ${span(mark)} overlaps ${other.label} ${span(other)}.` : "";
}

// Why its times may not be; video: `start` and `end` in seconds.
export function misplaced(mark, { start, end }) {
  if (!(mark.start < mark.end)) return `The end, ${stamp(mark.end)}, must be after the begin, ${stamp(mark.start)}.`;
  return mark.start < start || mark.end > end ? `The video lasts from ${span({ start, end })}.` : "";
}

// How far its edges may be drawn: to its neighbours.
export function limitsOf(mark, marks, isExclusive, { start: low, end: high }) {
  for (const other of marks.filter((known) => isConflict(known, mark, isExclusive))) {
    if (other.end <= mark.start) low = Math.max(low, other.end);
    if (other.start >= mark.end) high = Math.min(high, other.start);
  }
  return [low, high];
}

// The frame's exact time, or the video's end, where a time that was written means it.
export function exactTime(seconds, { times, end }) {
  const near = [times[indexAt(times, seconds + writtenSeconds)], end].find((time) => Math.abs(time - seconds) <= writtenSeconds);
  return near ?? seconds;
}
