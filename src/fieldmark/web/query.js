// The query: files that are chosen, dropped or pasted, a recording, a text, items of the gallery.

import { announce, button, byId, element, icon, formatTime, toast } from "./dom.js";
import { Completion } from "./completion.js";
import { Recorder } from "./recorder.js";

export const MAX_FILES = 4;

const mediumOf = (file) => {
  const kind = file.type.split("/")[0];
  return ["image", "video", "audio"].includes(kind) ? kind : "text";
};

/** Collects the parts of a query. Calls `onAsk` to search. */
export class Composer {
  constructor(onAsk) {
    this.files = [];
    this.itemIds = [];
    this.onAsk = onAsk;
    this.text = byId("ask-text");
    this.completion = new Completion(this.text, () => this.ask());
    this.recorder = new Recorder();
    byId("ask").addEventListener("submit", (event) => (event.preventDefault(), this.ask()));
    byId("add-files").addEventListener("click", () => byId("files").click());
    byId("files").addEventListener("change", (event) => {
      this.addFiles([...event.target.files]);
      event.target.value = "";
    });
    byId("record").addEventListener("click", () => this.record());
    this.listenForDrops();
    document.addEventListener("paste", (event) => this.paste(event));
  }

  /** Shows a query that comes from a URL. */
  show({ text, itemIds }) {
    this.text.value = text;
    this.itemIds = [...itemIds];
    this.showChips();
  }

  clearFiles() {
    this.files.forEach((each) => each.url && URL.revokeObjectURL(each.url));
    this.files = [];
    this.showChips();
  }

  ask() {
    this.onAsk({ text: this.text.value.trim(), itemIds: this.itemIds });
  }

  addFiles(files) {
    const free = MAX_FILES - this.files.length;
    if (files.length > free) toast(`A query can hold at most ${MAX_FILES} files. The others were ignored.`);
    for (const file of files.slice(0, free)) {
      const medium = mediumOf(file);
      this.files.push({ file, medium, url: medium === "text" ? null : URL.createObjectURL(file) });
    }
    this.showChips();
    if (files.length > 0 && free > 0) this.ask();
  }

  remove(list, index) {
    const [gone] = list.splice(index, 1);
    if (gone.url) URL.revokeObjectURL(gone.url);
    this.showChips();
    this.text.focus();
    this.ask();
  }

  showChips() {
    const files = this.files.map((each, index) => fileChip(each, () => this.remove(this.files, index)));
    const items = this.itemIds.map((itemId, index) => chip(icon("more"), `like ${itemId}`, () => this.remove(this.itemIds, index)));
    const list = byId("chips");
    list.replaceChildren(...files, ...items);
    list.hidden = list.children.length === 0;
  }

  listenForDrops() {
    let depth = 0;
    const veil = byId("drop-veil");
    const show = (isShown) => (veil.hidden = !isShown);
    const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
    document.addEventListener("dragenter", (event) => holdsFiles(event) && show(++depth > 0));
    document.addEventListener("dragleave", (event) => holdsFiles(event) && show(--depth > 0));
    document.addEventListener("dragover", (event) => holdsFiles(event) && event.preventDefault());
    document.addEventListener("drop", (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      depth = 0;
      show(false);
      this.addFiles([...event.dataTransfer.files]);
    });
  }

  paste(event) {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    this.addFiles(files);
  }

  async record() {
    const pressed = byId("record");
    const say = (text) => (pressed.lastElementChild.textContent = text);
    if (this.recorder.isRunning) return this.recorder.stop();
    try {
      const file = await this.recorder.record({
        onStart: () => {
          pressed.setAttribute("aria-pressed", "true");
          announce("Recording. Press the button again to search.");
        },
        onTime: (seconds) => say(`Stop ${formatTime(seconds)}`),
      });
      this.addFiles([file]);
    } catch (error) {
      toast(error.message);
    } finally {
      pressed.setAttribute("aria-pressed", "false");
      say("Record");
    }
    return undefined;
  }
}

function chip(sight, text, onRemove) {
  return element("li", { class: "chip" }, sight, element("span", { class: "chip-name", text }), button("wrong", { label: `Remove ${text}`, class: "plain round", onclick: onRemove }));
}

function fileChip({ file, medium, url }, onRemove) {
  const sight = medium === "image" ? element("img", { src: url, alt: "", onerror: (event) => event.target.replaceWith(icon(medium)) }) : icon(medium);
  const made = chip(sight, file.name, onRemove);
  made.classList.add(medium);
  if (medium === "audio") made.insertBefore(element("audio", { src: url, controls: true, preload: "metadata", "aria-label": `Your sound ${file.name}` }), made.lastChild);
  return made;
}
