// Elements with their properties, as text, never as HTML.

// make("button", { className: "main", onclick: record }, "Record"); null and false are left out.
export function make(kind, properties = {}, ...children) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(properties))
    if (name in made && name !== "list") made[name] = value; else made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null && child !== false));
  return made;
}

export const field = (text, input, className = "field") => make("label", { className }, make("span", {}, text), input);

// These children in this order; what is there already is left alone, with what is typed and focused in it.
export function arrange(home, children) {
  const wanted = new Set(children);
  for (const child of [...home.children]) if (!wanted.has(child)) child.remove();
  children.forEach((child, index) => { if (home.children[index] !== child) home.insertBefore(child, home.children[index] ?? null); });
}

// Gives a list [value, text] to choose from where it is another; what was chosen stays chosen if it is there.
export function setOptions(home, options) {
  const given = JSON.stringify(options), chosen = home.selectedIndex >= 0 ? home.value : null;
  if (home.dataset.given === given) return;
  home.dataset.given = given;
  home.replaceChildren(...options.map(([value, text]) => make("option", { value }, text)));
  if (options.some(([value]) => String(value) === chosen)) home.value = chosen;
}

// Sets a text only where it differs, so that screen readers and selections are left alone.
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

export const plural = (count, one, many = one + "s") => `${count} ${count === 1 ? one : many}`;

// Does what may fail, and says so in one line.
export async function attempt(app, work) {
  try {
    return await work();
  } catch (error) {
    app.notify(error.message, true);
    return undefined;
  }
}

// A dialog that is removed when it is closed; Escape closes it.
export function openDialog(title, ...children) {
  const heading = make("h2", { id: "dialog-title" }, title);
  const dialog = make("dialog", { "aria-labelledby": "dialog-title" }, heading, ...children);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
