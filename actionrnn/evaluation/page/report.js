"use strict";
const labels = JSON.parse(document.getElementById("labels").textContent);
const clips = JSON.parse(document.getElementById("clips").textContent);
const panel = document.getElementById("cell");

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function showCell(place) {
  const [given, answer] = [Number(place.dataset.true), Number(place.dataset.given)];
  const found = clips.filter((clip) => clip[0] === given && clip[1] === answer);
  const heading = element("b", `${labels[given]} taken for ${labels[answer]}: ${found.length}`);
  if (given === answer) heading.textContent = `${labels[given]}, recognised: ${found.length}`;
  const list = document.createElement("ul");
  for (const clip of found.sort((a, b) => b[3] - a[3])) {
    list.append(element("li", `${clip[2]} (score ${(100 * clip[3]).toFixed(0)} %)`));
  }
  panel.replaceChildren(heading, list);
  for (const cell of document.querySelectorAll(".cell.chosen")) cell.classList.remove("chosen");
  document.querySelector(`.cell[data-true="${given}"][data-given="${answer}"]`)?.classList.add("chosen");
}

for (const place of document.querySelectorAll("[data-true]")) {
  place.addEventListener("click", () => showCell(place));
  place.addEventListener("keydown", (event) => {
    if (event.key === "Enter") showCell(place);
  });
}

function sortTable(heading) {
  const table = heading.closest("table");
  const column = heading.cellIndex;
  const falling = heading.getAttribute("aria-sort") !== "descending";
  for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
  const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    const [one, two] = [value(a), value(b)];
    const order = heading.classList.contains("text") ? two.localeCompare(one) : Number(two) - Number(one);
    return falling ? order : -order;
  });
  table.tBodies[0].append(...rows);
}

for (const heading of document.querySelectorAll("table.sortable th")) {
  heading.querySelector("button").addEventListener("click", () => sortTable(heading));
}
