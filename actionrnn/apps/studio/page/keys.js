// Which key does what. Letters, digits and signs count by what they write, so that they are found on
// every keyboard; keys of the browser and of screen readers (Alt, Tab, F keys) are left alone.

const shownKeys = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", Enter: "Enter", Delete: "Delete", Escape: "Esc" };
const typing = "input, textarea, select, [contenteditable]";
const pressed = { " ": "button, summary", Enter: "button, summary, a" }; // by these keys

// "Ctrl+Shift+Z", "Shift+ArrowLeft", "I", "?": as a command names its keys.
export function keyOf(event) {
  const isSign = event.key.length === 1, isLetter = isSign && event.key.toLowerCase() !== event.key.toUpperCase();
  const control = event.ctrlKey || event.metaKey ? "Ctrl+" : "";
  const shift = event.shiftKey && (!isSign || isLetter || event.key === " ") ? "Shift+" : "";
  return control + shift + (isLetter ? event.key.toUpperCase() : event.key === "Backspace" ? "Delete" : event.key);
}

// The digit of a key above the letters, whatever the keyboard writes with it.
export const digitOf = (event) => (/^(Digit|Numpad)\d$/.test(event.code) && !event.ctrlKey && !event.metaKey ? event.code.at(-1) : "");

// Whether a key is somebody else's: of a field, of a button that it would press, of a dialog.
export function isTaken(event) {
  if (event.isComposing || event.altKey || event.defaultPrevented || document.querySelector("dialog[open]")) return true;
  const { target } = event;
  if (!(target instanceof Element)) return false;
  return Boolean(target.closest(typing)) || Boolean(pressed[event.key] && target.closest(pressed[event.key]));
}

// "Ctrl+ArrowLeft" as people write it: "Ctrl ←".
export const shownKey = (key) => key.split(/\+(?=.)/).map((part) => shownKeys[part] ?? part).join(" ");

// As `aria-keyshortcuts` wants it.
export const ariaKey = (key) => key.replace(/^ $/, "Space").replace("Ctrl+", "Control+").replace(/^\+$/, "Plus");
