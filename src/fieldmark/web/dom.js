// Elements, icons, names and messages. What comes from the server enters the page as text, never as HTML.

import { locale, t } from "./texts.js";

const UNSEEN_MILLISECONDS = 500;
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

const icons = new Map();

/**
 * An icon of the sprite in index.html; the text beside it, or the button's label, says what it means. It holds its own
 * lines: a reference to those of the sprite is resolved anew each time that it comes onto the page, and cards have ten.
 */
export function icon(name) {
  if (!icons.has(name)) {
    const { children } = byId(`icon-${name}`);
    icons.set(name, drawing("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, ...[...children].map((each) => each.cloneNode(true))));
  }
  return icons.get(name).cloneNode(true);
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

/** The name of one item of a medium, and of several. */
export const nameOf = (medium) => t(MEDIUM_NAMES[medium][0]);
export const namesOf = (medium) => t(MEDIUM_NAMES[medium][1]);

/** The same within a sentence: English writes nouns small. */
export const namesWithin = (medium) => (locale() === "en" ? namesOf(medium).toLowerCase() : namesOf(medium));

/** A class name as people write it, with spaces instead of underscores. */
export const formatName = (className) => (className ?? t("unnamed")).replaceAll("_", " ");

let scientificNames = new Set();
let namesByClass = new Map();

/** Tells which names are scientific, and what classes are called in other languages. */
export function learnNames(classes) {
  scientificNames = new Set(classes.map((each) => each.scientific_name).filter(Boolean).map(simplify));
  namesByClass = new Map(classes.map((each) => [each.class_name, each.names ?? {}]));
}

const simplify = (name) => name.replaceAll("_", " ").toLowerCase();

/** The name of a class for reading: in the reader's language where it is known there. */
export const displayName = (className) => namesByClass.get(className)?.[locale()] ?? formatName(className);

/** The name of a class as nodes: a scientific name in italics, any name in the direction of its own script. */
export function nameNodes(className, scientificName = null) {
  const name = displayName(className);
  const isScientific = scientificNames.has(simplify(name)) || (scientificName && simplify(scientificName) === simplify(name));
  return element(isScientific ? "i" : "bdi", { dir: "auto", lang: isScientific ? "la" : null, text: name });
}

/** A number in the reader's way of writing. */
export const formatNumber = (number) => number.toLocaleString(locale());

export const count = (number, one, many) => `${formatNumber(number)} ${t(number === 1 ? one : many, {}, { isMany: number !== 1 })}`;

/** A time in a file: 1:05.3. */
export function formatTime(seconds) {
  const tenths = Math.round(seconds * 10);
  const minutes = Math.floor(tenths / 600);
  return `${minutes}:${((tenths - minutes * 600) / 10).toFixed(1).padStart(4, "0")}`;
}

export const formatMoment = (part) => `${formatTime(part.start_seconds)}–${formatTime(part.end_seconds)}`;

/** A share as percent; only certainty is called 0 % or 100 %. */
export function percent(share) {
  if (share > 0 && share < 0.01) return t("under 1 %");
  if (share > 0.99 && share < 1) return t("over 99 %");
  return `${Math.round(share * 100)} %`;
}

/** Tells screen readers what has changed. */
export function announce(text) {
  byId("announcer").textContent = text;
}

/** Lets the browser draw before more is made for it. In a tab that nobody sees no frame comes, and it goes on without. */
export const nextFrame = () =>
  new Promise((resolve) => {
    requestAnimationFrame(() => setTimeout(resolve));
    setTimeout(resolve, UNSEEN_MILLISECONDS);
  });

const TOAST_MILLISECONDS = 6000;
const UNDO_MILLISECONDS = 15_000;
const TYPED_IN = "input:not([type=checkbox], [type=radio], [type=range]), textarea";
let toastTimer = 0;
let undoLast = null; // of the toast that is there
let focusedBefore = null; // where the focus goes when the toast goes

function hideToast() {
  const node = byId("toast");
  const isFocused = node.contains(document.activeElement);
  clearTimeout(toastTimer);
  node.hidden = true;
  undoLast = null;
  if (isFocused) (focusedBefore?.isConnected ? focusedBefore : byId("main")).focus({ preventScroll: true });
}

/** Takes back what the toast tells of; without a toast that can, nothing happens. */
function takeBack() {
  const undo = undoLast;
  hideToast();
  undo?.();
}

/** Lets the toast go after its time; one that has the focus, or the pointer on it, stays. */
function waitForToast() {
  const node = byId("toast");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => !node.contains(document.activeElement) && !node.matches(":hover") && hideToast(), undoLast ? UNDO_MILLISECONDS : TOAST_MILLISECONDS);
}

/** A short message at the edge of the page; `undo` adds a button, which Ctrl+Z presses too, and then it stays longer. */
export function toast(text, { undo = null } = {}) {
  const node = byId("toast");
  undoLast = undo;
  const button = undo && element("button", { type: "button", class: "plain", text: t("Undo"), title: t("Undo: Ctrl+Z"), "aria-keyshortcuts": "Control+Z Meta+Z", onclick: takeBack });
  node.replaceChildren(element("span", { dir: "auto", text }), ...(button ? [button] : []));
  node.hidden = false;
  waitForToast();
}

/** Lets the toast be reached and left by keys; called once. */
export function startToasts() {
  const node = byId("toast");
  node.addEventListener("focusin", (event) => event.relatedTarget && !node.contains(event.relatedTarget) && (focusedBefore = event.relatedTarget));
  for (const kind of ["focusout", "pointerleave"]) node.addEventListener(kind, waitForToast);
  document.addEventListener("keydown", (event) => {
    if (node.hidden) return;
    if (event.key === "Escape" && node.contains(document.activeElement)) hideToast();
    const isUndo = (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "z";
    if (!isUndo || undoLast === null || event.target.matches?.(TYPED_IN)) return;
    event.preventDefault();
    takeBack();
  });
}

/** Fills a row of buttons anew; the focus stays on the button that it was on. */
export function refill(row, ...content) {
  const place = [...row.querySelectorAll("button")].indexOf(document.activeElement);
  row.replaceChildren(...content);
  if (place >= 0) row.querySelectorAll("button")[place]?.focus({ preventScroll: true });
}

/** Calls once, when an element is about to become visible. */
export function whenNear(node, call) {
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    call();
  }, { rootMargin: "300px" });
  observer.observe(node);
}

/** An error in the words of the server, with a button to try again. */
export function errorPanel(error, { retry = null } = {}) {
  return element(
    "div",
    { class: "panel error", role: "alert" },
    element("h2", { text: t(error.title ?? "Something went wrong") }),
    element("p", { text: error.message, dir: "auto" }),
    retry && button("search", { text: t("Try again"), class: "plain framed", onclick: retry }),
  );
}

/** Opens the dialog with some content; returns a function that closes it. The focus returns to where it was. */
export function openDialog(title, ...content) {
  const dialog = byId("dialog");
  const close = () => dialog.close();
  dialog.replaceChildren(
    element("header", {}, element("h2", { id: "dialog-title", text: title }), button("wrong", { label: t("Close"), class: "plain round", onclick: close })),
    ...content,
  );
  if (!dialog.open) dialog.showModal();
  return close;
}
