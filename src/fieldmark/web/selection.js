// Selection: hits that are chosen to be labeled or exported together. Unlike marks, it does not change the ranking.

import { button, byId, element, formatNumber, icon, refill } from "./dom.js";
import { askForLabel } from "./labels.js";
import { askForExport } from "./exports.js";
import { t } from "./texts.js";

/** The selected hits of one view. Calls `onChange` after the gallery has changed. */
export class Selection {
  constructor({ getBasis, onLabels }) {
    this.selected = new Map();
    this.getBasis = getBasis;
    this.onLabels = onLabels;
    this.last = null;
  }

  /** Takes the selection of another entry of the history. */
  take(selected) {
    this.selected = selected;
    this.show();
  }

  has(itemId) {
    return this.selected.has(itemId);
  }

  /** The box that selects a hit; with the shift key, all from the last one on. */
  checkbox(hit, name) {
    const box = element("input", { type: "checkbox", checked: this.has(hit.item_id), "data-pick": hit.item_id, "aria-label": t("Select {name}, {id}", { name, id: hit.item_id }) });
    box.hit = hit;
    box.addEventListener("click", (event) => this.pick(box, event.shiftKey));
    return element("label", { class: "pick", title: t("Select") }, box);
  }

  pick(box, isRange) {
    const boxes = [...byId("main").querySelectorAll("[data-pick]")].filter((each) => each.offsetParent !== null);
    const [from, to] = [boxes.indexOf(this.last), boxes.indexOf(box)].sort((one, other) => one - other);
    const chosen = isRange && from >= 0 ? boxes.slice(from, to + 1) : [box];
    this.last = box;
    this.set(chosen.map((each) => each.hit), box.checked);
  }

  /** Selects hits, or no longer. */
  set(hits, isSelected) {
    for (const hit of hits) {
      if (isSelected) this.selected.set(hit.item_id, hit);
      else this.selected.delete(hit.item_id);
    }
    this.show();
  }

  clear() {
    this.selected.clear();
    this.show();
  }

  show() {
    for (const box of byId("main").querySelectorAll("[data-pick]")) {
      box.checked = this.has(box.dataset.pick);
      box.closest("li.card, tr")?.classList.toggle("selected", box.checked);
    }
    const row = byId("tray-selection");
    row.hidden = this.selected.size === 0;
    byId("tray").hidden = [...byId("tray").children].every((each) => each.hidden);
    if (row.hidden) return row.replaceChildren();
    const hits = [...this.selected.values()];
    refill(row,
      element("p", {}, icon("select"), element("b", { text: formatNumber(hits.length) }), ` ${t("selected")}`),
      element("div", { class: "tray-actions" },
        button("plus", { text: t("Label"), class: "primary", onclick: () => askForLabel("Label the selection", hits, { basis: t("selection in: {query}", { query: this.getBasis() }), onChange: () => this.onLabels() }) }),
        button("export", { text: t("Export selection"), class: "plain framed", onclick: () => askForExport(hits) }),
        button("wrong", { text: t("Clear selection"), class: "plain framed", onclick: () => this.clear() })));
    return undefined;
  }
}
