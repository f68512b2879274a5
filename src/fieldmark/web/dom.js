// Elements, icons, names and messages. What comes from the server enters the page as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. `text` is its text; keys that begin with "on" are listeners; true and false switch an attribute;
 * null leaves one out. Children are nodes or plain text; nulls are skipped.
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "text") made.textContent = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

/** An element of a drawing. */
export function drawing(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** An icon of the sprite in index.html; the text beside it, or the button's label, says what it means. */
export function icon(name) {
  return drawing("svg", { class: "icon", "aria-hidden": "true" }, drawing("use", { href: `#icon-${name}` }));
}

/** A button with an icon and a text; with `label` the icon stands alone and the label is read out. */
export function button(name, { text = null, label = null, ...properties }, ...children) {
  const named = label === null ? {} : { "aria-label": label, title: label };
  return element("button", { type: "button", ...named, ...properties }, icon(name), text === null ? null : element("span", { text }), ...children);
}

export const byId = (id) => document.getElementById(id);

/** Names of one item, and of several, of each medium. */
export const MEDIUM_NAMES = { image: ["photo", "Photos"], text: ["text", "Texts"], video: ["video", "Videos"], audio: ["sound", "Sounds"] };
export const MEDIA = Object.keys(MEDIUM_NAMES);

/** A class name as people write it, with spaces instead of underscores. */
export const formatName = (className) => (className ?? "unnamed").replaceAll("_", " ");

export const count = (number, one, many) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

/** A time in a file: 1:05.3. */
export function formatTime(seconds) {
  const tenths = Math.round(seconds * 10);
  const minutes = Math.floor(tenths / 600);
  return `${minutes}:${((tenths - minutes * 600) / 10).toFixed(1).padStart(4, "0")}`;
}

export const formatMoment = (part) => `${formatTime(part.start_seconds)}–${formatTime(part.end_seconds)}`;

/** A share as percent; only certainty is called 0 % or 100 %. */
export function percent(share) {
  if (share > 0 && share < 0.01) return "under 1 %";
  if (share > 0.99 && share < 1) return "over 99 %";
  return `${Math.round(share * 100)} %`;
}

/** Tells screen readers what has changed. */
export function announce(text) {
  byId("announcer").textContent = text;
}

let toastTimer = 0;

/** A short message at the edge of the page. */
export function toast(text) {
  const node = byId("toast");
  node.textContent = text;
  node.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (node.hidden = true), 6000);
}

/** An error in the words of the server, with a button to try again. */
export function errorPanel(error, { retry = null } = {}) {
  return element(
    "div",
    { class: "panel error", role: "alert" },
    element("h2", { text: error.title ?? "Something went wrong" }),
    element("p", { text: error.message }),
    retry && button("search", { text: "Try again", class: "plain framed", onclick: retry }),
  );
}

/** Opens the dialog with some content; returns a function that closes it. The focus returns to where it was. */
export function openDialog(title, ...content) {
  const dialog = byId("dialog");
  const close = () => dialog.close();
  dialog.replaceChildren(
    element("header", {}, element("h2", { id: "dialog-title", text: title }), button("wrong", { label: "Close", class: "plain round", onclick: close })),
    ...content,
  );
  if (!dialog.open) dialog.showModal();
  return close;
}
