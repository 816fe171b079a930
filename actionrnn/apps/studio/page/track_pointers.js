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
    const { view } = this;
    const drag = this.#drag;
    this.#drag = view.drawnRange = null;
    if (drag) finish(drag);
    view.redrawTop();
  }

  #place(event) {
    const box = this.view.top.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  // A frame's time, or the end.
  #snapped(event) {
    const { view } = this;
    const seconds = Math.min(Math.max(view.seconds(this.#place(event).x), view.start), view.end);
    const after = firstFrom(view.times, seconds, (time) => time), [before, next] = [view.times[Math.max(0, after - 1)], view.times[after] ?? view.end];
    return seconds - before < next - seconds ? before : next;
  }

  // What is at a place: {lane, mark or proposal, edge}.
  #at({ x, y }, reach) {
    const { view } = this;
    const lane = view.lanes[Math.floor((y - view.lanesTop) / laneHeight)];
    if (!lane || y < view.lanesTop || y > view.overviewTop - gap || x < view.gutter) return {};
    const near = (list) => list.filter((item) => view.x(item.start) - reach <= x && x <= view.x(item.end) + reach);
    const marks = near(lane.marks).sort((a, b) => (b.id === view.scene.selected) - (a.id === view.scene.selected));
    for (const mark of marks) {
      const [left, right] = [Math.abs(view.x(mark.start) - x), Math.abs(view.x(mark.end) - x)];
      if (Math.min(left, right) <= Math.min(reach, (view.x(mark.end) - view.x(mark.start)) / 3 + 3)) return { lane, mark, edge: left < right ? "start" : "end" };
    }
    const within = (item) => view.x(item.start) <= x && x <= view.x(item.end);
    return { lane, mark: marks.find(within), proposal: near(lane.proposals).find(within) };
  }

  #hover(event) {
    const { view } = this;
    const place = this.#place(event), { mark, edge, proposal, lane } = this.#at(place, edgePixels);
    view.top.style.cursor = edge ? "ew-resize" : mark || proposal || place.y < view.lanesTop || place.y > view.overviewTop - gap ? "pointer" : lane ? "crosshair" : "default";
  }

  #dragFrom(event) {
    const { view } = this;
    const place = this.#place(event), common = { x: event.clientX, isMoved: false };
    if (place.y > view.overviewTop - gap) {
      const move = (later) => {
        const seconds = view.start + (this.#place(later).x - view.gutter) / view.width * (view.end - view.start), span = view.last - view.first;
        view.setView(seconds - span / 2, span);
        view.listen.seek(Math.min(Math.max(seconds, view.start), view.end));
      };
      return { ...common, move };
    }
    const { lane, mark, edge, proposal } = this.#at(place, event.pointerType === "mouse" ? edgePixels : 2 * edgePixels);
    if (edge) return { ...common, ...this.#edgeDrag(mark, edge) };
    if (mark || proposal) return { ...common, end: () => view.listen.select(mark ?? proposal) };
    if (lane) return { ...common, ...this.#rangeDrag(lane, this.#snapped(event)) };
    return { ...common, move: (later) => view.listen.seek(view.seconds(this.#place(later).x)) };
  }

  #edgeDrag(mark, edge) {
    const { view } = this;
    const [low, high] = view.listen.limits(mark), origin = mark[edge];
    let moved = { start: mark.start, end: mark.end };
    const isValid = (seconds) => (edge === "start" ? seconds >= low && seconds < mark.end : seconds > mark.start && seconds <= high);
    const move = (event) => {
      const snapped = this.#snapped(event), seconds = Math.min(Math.max(snapped, low), high);
      if (!isValid(seconds) || !this.#drag?.isMoved) return;
      moved = { ...moved, [edge]: seconds };
      view.listen.edge(mark, moved, false);
    };
    return {
      move,
      end: () => {
        if (moved[edge] !== origin) view.listen.edge(mark, moved, true);
        else { view.listen.edge(mark, null, false); view.listen.select(mark); }
      },
      cancel: () => view.listen.edge(mark, null, false),
    };
  }

  #rangeDrag(lane, from) {
    const { view } = this;
    const rangeTo = (event) => { const to = this.#snapped(event); return { label: lane.name, start: Math.min(from, to), end: Math.max(from, to) }; };
    return {
      move: (event) => { if (this.#drag) { view.drawnRange = this.#drag.isMoved ? rangeTo(event) : null; view.redrawTop(); } },
      end: (event, isMoved) => {
        const range = rangeTo(event);
        if (isMoved && range.start < range.end) view.listen.range(range); else { view.listen.select(null); view.listen.seek(from); }
      },
    };
  }
}
