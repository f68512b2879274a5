// The query: files that are chosen, dropped or pasted, a recording, a text, items of the gallery.

import { dock, dockRow, levelMeter } from "./dock.js";
import { announce, button, byId, element, icon, formatTime, toast } from "./dom.js";
import { Completion } from "./completion.js";
import { Recorder } from "./recorder.js";
import { t } from "./texts.js";

export const MAX_FILES = 4;

/** Collects the parts of a query. Calls `onAsk` to search. */
export class Composer {
  constructor(held, onAsk) {
    this.held = held; // the files of the session
    this.files = [];
    this.missing = [];
    this.itemIds = [];
    this.onAsk = onAsk;
    this.text = byId("ask-text");
    this.shown = keyOf({ text: "", itemIds: [], fileKeys: [] }); // the query that is shown
    this.completion = new Completion(this.text, () => this.ask());
    this.recorder = new Recorder();
    byId("ask").addEventListener("submit", (event) => (event.preventDefault(), this.ask()));
    byId("add-files").addEventListener("click", () => byId("files").click());
    byId("take-photo").addEventListener("click", () => byId("camera").click());
    for (const id of ["files", "camera"]) {
      byId(id).addEventListener("change", (event) => {
        this.addFiles([...event.target.files]);
        event.target.value = "";
      });
    }
    byId("record").addEventListener("click", () => this.record());
    this.addFiles([...byId("files").files]); // those that were chosen before the page was ready
    this.listenForDrops();
    document.addEventListener("paste", (event) => this.paste(event));
  }

  /** Shows the query of the state. What somebody types meanwhile stays, unless another query takes its place. */
  show({ text, itemIds, fileKeys }, missing) {
    const asked = keyOf({ text, itemIds, fileKeys });
    if (asked !== this.shown) this.text.value = text;
    this.shown = asked;
    this.itemIds = [...itemIds];
    this.files = fileKeys.map((key) => this.held.get(key)).filter(Boolean);
    this.missing = missing;
    this.showChips();
  }

  ask() {
    this.onAsk({ text: this.text.value.trim(), itemIds: this.itemIds, fileKeys: [...this.files, ...this.missing].map((each) => each.key) });
  }

  /** Adds files to the query; one that a reload has lost is taken for itself again, others take the place of the lost. */
  async addFiles(files) {
    const free = MAX_FILES - this.files.length;
    if (files.length > free) toast(t("A query can hold at most {number} files. The others were ignored.", { number: MAX_FILES }));
    const kept = await Promise.all(files.slice(0, free).map((file) => this.held.keep(file)));
    if (kept.length === 0) return;
    const isFound = kept.some((each) => this.missing.some((one) => one.key === each.key));
    const others = kept.filter((each) => !this.files.includes(each));
    this.missing = isFound ? this.missing.filter((one) => !kept.some((each) => each.key === one.key)) : [];
    this.files = [...this.files, ...others];
    this.showChips();
    this.ask();
  }

  remove(list, index) {
    list.splice(index, 1);
    this.showChips();
    this.text.focus();
    this.ask();
  }

  showChips() {
    const files = this.files.map((each, index) => fileChip(each, () => this.remove(this.files, index)));
    const lost = this.missing.map((each, index) => {
      const made = chip(icon(each.medium), each.name, () => this.remove(this.missing, index));
      made.classList.add("lost");
      return made;
    });
    const items = this.itemIds.map((itemId, index) => chip(icon("more"), t("like {name}", { name: itemId }), () => this.remove(this.itemIds, index)));
    const list = byId("chips");
    list.replaceChildren(...files, ...lost, ...items);
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

  /** Records a sound and searches with it. The dock shows how loud it is, and stops it wherever one goes. */
  async record() {
    const pressed = byId("record");
    const say = (text) => (pressed.lastElementChild.textContent = text);
    if (this.recorder.isRunning) return this.recorder.stop();
    const meter = levelMeter();
    const time = element("span", { class: "number", text: formatTime(0) });
    let close = () => {};
    try {
      const file = await this.recorder.record({
        onStart: () => {
          pressed.setAttribute("aria-pressed", "true");
          close = dock(dockRow(t("Recording"), t("Recording"), [time, meter.node], { endLabel: t("Stop and search"), onEnd: () => this.recorder.stop() }));
          announce(t("Recording. Press the button again to search."));
        },
        onTime: (seconds) => {
          say(t("Stop {time}", { time: formatTime(seconds) }));
          time.textContent = formatTime(seconds);
        },
        onLevel: meter.set,
      });
      await this.addFiles([file]);
    } catch (error) {
      toast(error.message);
    } finally {
      close();
      pressed.setAttribute("aria-pressed", "false");
      say(t("Record"));
    }
    return undefined;
  }
}

const keyOf = ({ text, itemIds, fileKeys }) => JSON.stringify([text, itemIds, fileKeys]);

function chip(sight, text, onRemove) {
  return element("li", { class: "chip" }, sight, element("span", { class: "chip-name", dir: "auto", text }), button("wrong", { label: t("Remove {name}", { name: text }), class: "plain round", onclick: onRemove }));
}

function fileChip({ file, medium, url }, onRemove) {
  const sight = medium === "image" ? element("img", { src: url, alt: "", onerror: (event) => event.target.replaceWith(icon(medium)) }) : icon(medium);
  const made = chip(sight, file.name, onRemove);
  made.classList.add(medium);
  if (medium === "audio") made.insertBefore(element("audio", { src: url, controls: true, preload: "metadata", "aria-label": t("Your sound {name}", { name: file.name }) }), made.lastChild);
  return made;
}
