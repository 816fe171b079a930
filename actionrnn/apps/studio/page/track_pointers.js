// What a pointer does on the timeline: it seeks, chooses, draws edges and selections.

import { firstFrom, gap, laneHeight } from "./track_painter.js";

const edgePixels = 7;

// {x, isMoved, move(event), end(event, isMoved), cancel()} is a drag; it ends in one of the last two.
export class Pointers {
  #drag = null;

  constructor(view) {
    this.view = view;
    const { top } = view;
    top.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      top.setPointerCapture(event.pointerId);
      top.focus({ preventScroll: true });
      this.#drag = this.#dragFrom(event);
      this.#drag.move?.(event);
    });
    top.addEventListener("pointermove", (event) => {
      if (this.#drag) { this.#drag.move?.(event); this.#drag.isMoved ||= Math.abs(event.clientX - this.#drag.x) > 3; } else this.#hover(event);
    });
    top.addEventListener("pointerup", (event) => this.#letGo((drag) => drag.end?.(event, drag.isMoved)));
    top.addEventListener("pointercancel", () => this.#letGo((drag) => drag.cancel?.()));
    top.addEventListener("wheel", (event) => {
      const span = this.view.last - this.view.first;
      if (event.ctrlKey || event.metaKey) this.view.zoom(2 ** (-event.deltaY / 200), this.view.seconds(this.#place(event).x));
      else if (event.deltaX || event.shiftKey) this.view.pan((event.deltaX || event.deltaY) / this.view.width * span);
      else return;
      event.preventDefault();
    }, { passive: false });
  }

  #letGo(finish) {
    const drag = this.#drag;
    this.#drag = this.view.drawnRange = null;
    if (drag) finish(drag);
    this.view.redrawTop();
  }

  #place(event) {
    const box = this.view.top.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  // A frame's time, or the end.
  #snapped(event) {
    const seconds = Math.min(Math.max(this.view.seconds(this.#place(event).x), this.view.start), this.view.end);
    const after = firstFrom(this.view.times, seconds, (time) => time), [before, next] = [this.view.times[Math.max(0, after - 1)], this.view.times[after] ?? this.view.end];
    return seconds - before < next - seconds ? before : next;
  }

  // What is at a place: {lane, mark or proposal, edge}.
  #at({ x, y }, reach) {
    const lane = this.view.lanes[Math.floor((y - this.view.lanesTop) / laneHeight)];
    if (!lane || y < this.view.lanesTop || y > this.view.overviewTop - gap || x < this.view.gutter) return {};
    const near = (list) => list.filter((item) => this.view.x(item.start) - reach <= x && x <= this.view.x(item.end) + reach);
    const marks = near(lane.marks).sort((a, b) => (b.id === this.view.scene.selected) - (a.id === this.view.scene.selected));
    for (const mark of marks) {
      const [left, right] = [Math.abs(this.view.x(mark.start) - x), Math.abs(this.view.x(mark.end) - x)];
      if (Math.min(left, right) <= Math.min(reach, (this.view.x(mark.end) - this.view.x(mark.start)) / 3 + 3)) return { lane, mark, edge: left < right ? "start" : "end" };
    }
    const within = (item) => this.view.x(item.start) <= x && x <= this.view.x(item.end);
    return { lane, mark: marks.find(within), proposal: near(lane.proposals).find(within) };
  }

  #hover(event) {
    const place = this.#place(event), { mark, edge, proposal, lane } = this.#at(place, edgePixels);
    this.view.top.style.cursor = edge ? "ew-resize" : mark || proposal || place.y < this.view.lanesTop || place.y > this.view.overviewTop - gap ? "pointer" : lane ? "crosshair" : "default";
  }

  #dragFrom(event) {
    const place = this.#place(event), common = { x: event.clientX, isMoved: false };
    if (place.y > this.view.overviewTop - gap) {
      const move = (later) => {
        const seconds = this.view.start + (this.#place(later).x - this.view.gutter) / this.view.width * (this.view.end - this.view.start), span = this.view.last - this.view.first;
        this.view.setView(seconds - span / 2, span);
        this.view.listen.seek(Math.min(Math.max(seconds, this.view.start), this.view.end));
      };
      return { ...common, move };
    }
    const { lane, mark, edge, proposal } = this.#at(place, event.pointerType === "mouse" ? edgePixels : 2 * edgePixels);
    if (edge) return { ...common, ...this.#edgeDrag(mark, edge) };
    if (mark || proposal) return { ...common, end: () => this.view.listen.select(mark ?? proposal) };
    if (lane) return { ...common, ...this.#rangeDrag(lane, this.#snapped(event)) };
    return { ...common, move: (later) => this.view.listen.seek(this.view.seconds(this.#place(later).x)) };
  }

  #edgeDrag(mark, edge) {
    const [low, high] = this.view.listen.limits(mark), origin = mark[edge];
    let moved = { start: mark.start, end: mark.end };
    const isValid = (seconds) => (edge === "start" ? seconds >= low && seconds < mark.end : seconds > mark.start && seconds <= high);
    const move = (event) => {
      const snapped = this.#snapped(event), seconds = Math.min(Math.max(snapped, low), high);
      if (!isValid(seconds) || !this.#drag?.isMoved) return;
      moved = { ...moved, [edge]: seconds };
      this.view.listen.edge(mark, moved, false);
    };
    return {
      move,
      end: () => {
        if (moved[edge] !== origin) this.view.listen.edge(mark, moved, true);
        else { this.view.listen.edge(mark, null, false); this.view.listen.select(mark); }
      },
      cancel: () => this.view.listen.edge(mark, null, false),
    };
  }

  #rangeDrag(lane, from) {
    const rangeTo = (event) => { const to = this.#snapped(event); return { label: lane.name, start: Math.min(from, to), end: Math.max(from, to) }; };
    return {
      move: (event) => { if (this.#drag) { this.view.drawnRange = this.#drag.isMoved ? rangeTo(event) : null; this.view.redrawTop(); } },
      end: (event, isMoved) => {
        const range = rangeTo(event);
        if (isMoved && range.start < range.end) this.view.listen.range(range); else { this.view.listen.select(null); this.view.listen.seek(from); }
      },
    };
  }
}
