// Marks: hits that the user called right or wrong. They re-rank the search at once, become labels, or are exported.

import { announce, button, byId, element, icon, refill } from "./dom.js";
import { askForExport } from "./exports.js";
import { askForLabel } from "./labels.js";
import { t } from "./texts.js";

/** The marks of one search. Calls `onChange` after each change, `onLabels` after the gallery has changed. */
export class Marks {
  constructor({ onChange, onLabels, getBasis }) {
    this.marked = new Map();
    Object.assign(this, { onChange, onLabels, getBasis });
  }

  /** Takes the marks of another entry of the history. */
  take(marked) {
    this.marked = marked;
    this.showTray();
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
    announce(t("{right} right, {wrong} wrong. Ranking again.", { right: this.ids("relevant").length, wrong: this.ids("irrelevant").length }));
    this.change();
  }

  clear() {
    if (this.marked.size === 0) return;
    this.marked.clear();
    this.change();
  }

  change() {
    this.showTray();
    this.onChange();
  }

  showTray() {
    const row = byId("tray-marks");
    row.hidden = this.marked.size === 0;
    byId("tray").hidden = [...byId("tray").children].every((each) => each.hidden);
    if (row.hidden) return row.replaceChildren();
    const right = [...this.marked.values()].filter((mark) => mark.value === "relevant").map((mark) => mark.hit);
    const label = () => askForLabel("Save as a class", right, { basis: t("marked right in: {query}", { query: this.getBasis() }), onChange: () => this.onLabels() });
    refill(row,
      element("p", {}, icon("right"), element("strong", { text: right.length }), ` ${t("right")}`, icon("wrong"), element("strong", { text: this.ids("irrelevant").length }), ` ${t("wrong")}`),
      element("div", { class: "tray-actions" },
        button("plus", { text: t("Save as a class"), class: "primary", disabled: right.length === 0, onclick: label }),
        button("export", { text: t("Export"), class: "plain framed", disabled: right.length === 0, onclick: () => askForExport(right) }),
        button("wrong", { text: t("Clear"), class: "plain framed", onclick: () => this.clear() })),
    );
    return undefined;
  }
}
