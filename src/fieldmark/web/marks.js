// Marks: hits that the user called right or wrong. They re-rank the search at once, become labels, or are exported.

import { exportHits, forget, saveClass } from "./api.js";
import { announce, button, byId, count, element, icon, openDialog, formatName, toast } from "./dom.js";
import { FORMATS } from "./results.js";

/** The marks of one search. Calls `onChange` after each change. */
export class Marks {
  constructor(onChange) {
    this.marked = new Map();
    this.onChange = onChange;
  }

  of(itemId) {
    return this.marked.get(itemId)?.value ?? null;
  }

  ids(value) {
    return [...this.marked].filter(([, mark]) => mark.value === value).map(([itemId]) => itemId);
  }

  toRequest() {
    return { relevant: this.ids("relevant"), irrelevant: this.ids("irrelevant") };
  }

  /** Marks a hit; the same mark again removes it. */
  toggle(hit, value) {
    if (this.of(hit.item_id) === value) this.marked.delete(hit.item_id);
    else this.marked.set(hit.item_id, { value, hit });
    announce(`${this.ids("relevant").length} right, ${this.ids("irrelevant").length} wrong. Ranking again.`);
    this.change();
  }

  clear({ isSilent = false } = {}) {
    if (this.marked.size === 0) return;
    this.marked.clear();
    if (isSilent) this.showTray();
    else this.change();
  }

  change() {
    this.showTray();
    this.onChange();
  }

  showTray() {
    const tray = byId("tray");
    tray.hidden = this.marked.size === 0;
    if (tray.hidden) return tray.replaceChildren();
    const right = this.ids("relevant");
    tray.replaceChildren(
      element("p", {}, icon("right"), element("strong", { text: right.length }), " right", icon("wrong"), element("strong", { text: this.ids("irrelevant").length }), " wrong"),
      element("div", { class: "tray-actions" },
        button("plus", { text: "Save as a class", class: "primary", disabled: right.length === 0, onclick: () => this.askForClass() }),
        button("export", { text: "Export", class: "plain framed", disabled: right.length === 0, onclick: () => this.askForFormat() }),
        button("wrong", { text: "Clear", class: "plain framed", onclick: () => this.clear() })),
    );
    return undefined;
  }

  /** Returns the class of most right hits, as a suggestion for the name. */
  likelyName() {
    const names = [...this.marked.values()].filter((mark) => mark.value === "relevant" && mark.hit.class_name).map((mark) => mark.hit.class_name);
    return names.sort((one, other) => names.filter((name) => name === other).length - names.filter((name) => name === one).length)[0] ?? "";
  }

  askForClass() {
    const right = this.ids("relevant");
    const name = element("input", { id: "class-name", value: this.likelyName(), required: true, maxlength: 256, autocomplete: "off" });
    const problem = element("p", { class: "problem", role: "alert" });
    const save = async (event) => {
      event.preventDefault();
      try {
        await saveClass(name.value.trim(), right);
      } catch (error) {
        problem.textContent = error.message;
        return;
      }
      forget();
      close();
      toast(`${count(right.length, "item is", "items are")} now ${formatName(name.value.trim())}.`);
      this.onChange();
    };
    const close = openDialog(
      "Save as a class",
      element("form", { onsubmit: save },
        element("p", { text: `${count(right.length, "right hit gets", "right hits get")} this name in the gallery. The files do not change.` }),
        element("label", { for: "class-name", text: "Name of the class" }), name, problem,
        element("div", { class: "dialog-actions" }, element("button", { type: "submit", class: "primary", text: "Save" }))),
    );
    name.select();
  }

  askForFormat() {
    const right = [...this.marked.values()].filter((mark) => mark.value === "relevant").map((mark) => mark.hit);
    const choose = async (format) => {
      close();
      await saveExport(format, right);
    };
    const close = openDialog(
      "Export",
      element("p", { text: `${count(right.length, "right hit", "right hits")} as:` }),
      element("div", { class: "dialog-list" }, Object.entries(FORMATS).map(([format, text]) => element("button", { type: "button", class: "plain framed", text, onclick: () => choose(format) }))),
    );
  }
}

/** Downloads an export and tells how it went. */
export async function saveExport(format, hits) {
  try {
    toast(`Saved as ${await exportHits(format, hits)}.`);
  } catch (error) {
    toast(error.message);
  }
}
