// The session: what each entry of the history held and showed, so that Back finds it; and the files of queries.

import { nextFrame } from "./dom.js";

const KEPT_VIEWS = 8;
const KEPT_FILES = 32;
const MOVES = ["wheel", "touchmove", "pointerdown", "keydown"];

/** Files of queries, by their content: they stay in this tab and are never in a link. */
export class Files {
  constructor() {
    this.held = new Map();
  }

  /** Keeps a file; gives what is known of it, with a key made of its content. */
  async keep(file) {
    const key = await hashContent(file);
    const kept = this.held.get(key) ?? { key, file, name: file.name, medium: mediumOf(file), url: URL.createObjectURL(file) };
    this.held.delete(key);
    this.held.set(key, kept);
    if (this.held.size > KEPT_FILES) this.drop(this.held.keys().next().value);
    return kept;
  }

  get(key) {
    return this.held.get(key) ?? null;
  }

  drop(key) {
    URL.revokeObjectURL(this.held.get(key).url);
    this.held.delete(key);
  }
}

export const mediumOf = (file) => {
  const kind = file.type.split("/")[0];
  return ["image", "video", "audio"].includes(kind) ? kind : "text";
};

/** A key for a file's content; over plain HTTP there is no SHA-256, and a key of 53 bits will do within one tab. */
async function hashContent(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (globalThis.crypto?.subtle) {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    return [...digest.slice(0, 10)].map((each) => each.toString(16).padStart(2, "0")).join("");
  }
  let [one, other] = [0xdeadbeef, 0x41c6ce57];
  for (const byte of bytes) {
    one = Math.imul(one ^ byte, 2654435761);
    other = Math.imul(other ^ byte, 1597334677);
  }
  return `${bytes.length.toString(16)}-${(one >>> 0).toString(16)}${(other >>> 0).toString(16)}`;
}

/**
 * The entries of the history. Each has the state, marks and selection of a view, the view itself as long as it is
 * among the last ones, and where the reader was in it. What survives a reload stands in `history.state`.
 */
export class Session {
  constructor() {
    history.scrollRestoration = "manual";
    this.files = new Files();
    this.entries = new Map();
    this.current = this.make(history.state?.entry ?? this.nextId());
    addEventListener("pagehide", () => this.note());
  }

  nextId() {
    return `${Date.now().toString(36)}${Math.random().toString(36).slice(2, 8)}`;
  }

  make(id) {
    const entry = { id, view: null, answer: null, marks: new Map(), selected: new Map(), scroll: null, seen: null, focus: null, files: [] };
    this.entries.set(id, entry);
    return entry;
  }

  /** What the last page load knew of this entry: names of its files, and how far it was scrolled. */
  get remembered() {
    return { files: history.state?.files ?? [], scroll: history.state?.scroll ?? 0 };
  }

  /** Begins a new entry; the one before keeps where the reader was. */
  push(url, state) {
    this.leave();
    this.current = this.make(this.nextId());
    this.write(url, state, "pushState");
  }

  /** Changes the address of this entry. */
  replace(url, state) {
    this.write(url, state, "replaceState");
  }

  write(url, state, method) {
    const files = state.fileKeys.map((key) => this.describe(key));
    history[method]({ entry: this.current.id, files, scroll: this.current.scroll ?? 0 }, "", url);
    this.current.files = files;
  }

  describe(key) {
    const held = this.files.get(key) ?? this.current.files.find((each) => each.key === key) ?? this.remembered.files.find((each) => each.key === key);
    return { key, name: held?.name ?? "", medium: held?.medium ?? "image" };
  }

  /** Notes where the reader is. */
  leave() {
    this.current.scroll = scrollY;
    const seen = document.elementFromPoint(innerWidth / 2, innerHeight / 2);
    this.current.seen = seen?.closest("main") ? { node: seen, top: seen.getBoundingClientRect().top } : null;
    const focused = document.activeElement;
    this.current.focus = focused && focused !== document.body ? focused : null;
    const withViews = [...this.entries.values()].filter((each) => each.view);
    withViews.slice(0, Math.max(0, withViews.length - KEPT_VIEWS)).forEach((each) => (each.view = null));
  }

  note() {
    history.replaceState({ ...history.state, entry: this.current.id, scroll: scrollY }, "");
  }

  /** Goes to the entry that the browser went to; one of an earlier page load begins empty. */
  go() {
    const id = history.state?.entry ?? this.nextId();
    const entry = this.entries.get(id) ?? this.make(id);
    entry.files = entry.files.length > 0 ? entry.files : (history.state?.files ?? []);
    this.current = entry;
    return entry;
  }

  /** Forgets views, all or all but the one that is shown: the gallery or the language has changed. */
  forgetViews({ isCurrentKept = false } = {}) {
    for (const entry of this.entries.values()) if (!isCurrentKept || entry !== this.current) Object.assign(entry, { view: null, answer: null });
  }

  /**
   * Goes back to where the reader was in the entry, and once more when what stands around the hits is there too,
   * unless the reader has moved on meanwhile.
   */
  async restore(surroundings = null) {
    const { scroll, seen, focus } = this.current;
    if (focus?.isConnected) focus.focus({ preventScroll: true });
    if (scroll === null) return;
    const moved = new AbortController();
    for (const kind of MOVES) addEventListener(kind, () => moved.abort(), { once: true, passive: true, signal: moved.signal });
    const go = () => {
      if (moved.signal.aborted) return;
      // What was seen stands where it stood, even if something above it has another height now.
      if (seen?.node.isConnected) scrollBy({ top: seen.node.getBoundingClientRect().top - seen.top, behavior: "instant" });
      else scrollTo({ top: scroll, behavior: "instant" });
    };
    go();
    await surroundings;
    go();
    await nextFrame();
    await nextFrame();
    go();
    moved.abort();
  }
}
