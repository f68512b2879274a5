// The hits as a table: facts in columns, sorted by any of them.

import { itemCard, keyOf, scoreOf, title } from "./card.js";
import { byId, element, formatNumber, icon, nameNodes, nameOf, nextFrame, openDialog, percent, formatMoment } from "./dom.js";
import { t } from "./texts.js";

const ROWS_AT_ONCE = 30;
const SLACK_PIXELS = 8; // as wide as the letters of two words of one length may differ

const COLUMNS = [
  ["Rank", (hit) => hit.rank],
  ["Medium", (hit) => nameOf(hit.medium)],
  ["Species", (hit) => title(hit)],
  ["Likely", (hit) => hit.probability ?? (hit.is_compared ? hit.score : null)],
  ["Date", (hit) => hit.event_date],
  ["Place", (hit) => hit.place ?? hit.country_code],
  ["Recorded by", (hit) => hit.recorded_by],
  ["Number", (hit) => hit.catalog_number ?? hit.occurrence_id],
  ["Rights", (hit) => hit.license_form ?? hit.license ?? hit.rights_holder],
  ["Moment", (hit) => hit.start_seconds],
  ["Set", (hit) => hit.set_name],
  ["Id", (hit) => hit.item_id],
];

/** Columns that are there even where no hit says anything in them. */
const ALWAYS = ["Rank", "Medium", "Species", "Likely", "Id"];

const isKnown = (value) => value !== null && value !== undefined && value !== "";

const collator = new Intl.Collator(undefined, { numeric: true }); // one for all: making it takes longer than comparing

function compare(one, other) {
  if (one === other) return 0;
  if (!isKnown(one)) return 1; // what is not known stands last
  if (!isKnown(other)) return -1;
  return typeof one === "number" ? one - other : collator.compare(String(one), String(other));
}

const lengthOf = (hit, index) => String(COLUMNS[index][1](hit) ?? "").length;

/** The table of an answer. */
export class Table {
  constructor(context) {
    this.context = context;
    this.sorted = { column: 0, isDescending: false };
    this.turn = 0;
    this.heads = COLUMNS.map(([name], index) => element("th", { scope: "col" }, element("button", { type: "button", class: "linkish", text: t(name), onclick: () => this.sort(index) })));
    this.all = element("input", { type: "checkbox", "aria-label": t("Select all"), onchange: (event) => context.selection.set(this.hits, event.target.checked) });
    this.head = element("tr");
    this.body = element("tbody");
    this.widths = element("colgroup");
    this.table = element("table", { class: "hits" }, this.widths, element("thead", {}, this.head), this.body);
    this.node = element("div", { class: "table-frame hits-frame", tabindex: 0, role: "region", "aria-label": t("Table of hits") }, this.table);
  }

  /** Takes hits. */
  update(hits, context) {
    this.context = context;
    if (hits === this.hits) return;
    this.hits = hits;
    this.rows = new Map();
    this.columns = [...COLUMNS.keys()].filter((index) => ALWAYS.includes(COLUMNS[index][0]) || hits.some((hit) => isKnown(COLUMNS[index][1](hit))));
    if (!this.columns.includes(this.sorted.column)) this.sorted = { column: 0, isDescending: false };
    this.head.replaceChildren(element("td", {}, element("label", { class: "pick" }, this.all)), ...this.columns.map((index) => this.heads[index]));
    this.showInWidths();
  }

  /** Shows the hits once their columns have widths, which needs the table to be on the page: a frame later at the first time. */
  async showInWidths() {
    const turn = (this.turn += 1);
    if (!this.node.isConnected) {
      this.body.replaceChildren(...this.hits.slice(0, ROWS_AT_ONCE).map((hit) => this.rowOf(hit)));
      await nextFrame();
    }
    if (turn !== this.turn) return;
    if (this.hits.length > 0 && this.node.isConnected) this.setWidths();
    this.show();
  }

  /** Gives each column the width of its longest value, so that rows that come later move and change nothing. */
  setWidths() {
    this.widths.replaceChildren();
    this.table.classList.remove("fixed");
    const longest = (index) => this.hits.reduce((one, other) => (lengthOf(other, index) > lengthOf(one, index) ? other : one));
    this.body.replaceChildren(...new Set(this.columns.map(longest).map((hit) => this.rowOf(hit))));
    const widths = [...this.head.children].map((each) => each.getBoundingClientRect().width);
    this.widths.replaceChildren(...widths.map((width) => {
      const made = element("col");
      made.style.width = `${width + SLACK_PIXELS}px`;
      return made;
    }));
    this.table.classList.add("fixed");
  }

  sort(column) {
    this.sorted = { column, isDescending: this.sorted.column === column && !this.sorted.isDescending };
    this.show();
  }

  async show() {
    const turn = (this.turn += 1);
    const { column, isDescending } = this.sorted;
    this.heads.forEach((head, index) => head.setAttribute("aria-sort", index !== column ? "none" : isDescending ? "descending" : "ascending"));
    const valueOf = COLUMNS[column][1];
    const hits = [...this.hits].sort((one, other) => {
      const [a, b] = [valueOf(one), valueOf(other)];
      return isDescending && isKnown(a) && isKnown(b) ? compare(b, a) : compare(a, b);
    });
    this.body.replaceChildren(...hits.slice(0, ROWS_AT_ONCE).map((hit) => this.rowOf(hit)));
    for (let first = ROWS_AT_ONCE; first < hits.length; first += ROWS_AT_ONCE) {
      await nextFrame();
      if (turn !== this.turn) return;
      this.body.append(...hits.slice(first, first + ROWS_AT_ONCE).map((hit) => this.rowOf(hit)));
    }
    this.context.selection.show();
  }

  /** The row of a hit, made once. */
  rowOf(hit) {
    if (!this.rows.has(hit)) this.rows.set(hit, this.row(hit));
    return this.rows.get(hit);
  }

  row(hit) {
    const { selection } = this.context;
    const open = element("button", { type: "button", class: "linkish", onclick: () => this.open(hit) }, nameNodes(hit.class_name ?? hit.called ?? null, hit.scientific_name));
    const shown = {
      Medium: () => element("span", { class: hit.medium }, icon(hit.medium), " ", nameOf(hit.medium)),
      Species: () => open,
      Likely: () => (hit.probability === null || hit.probability === undefined ? scoreOf(hit) : percent(hit.probability)),
      Moment: () => (hit.start_seconds === null ? "" : formatMoment(hit)),
      Rank: () => formatNumber(hit.rank),
    };
    return element("tr", { "data-item": hit.item_id, "data-key": keyOf(hit), class: selection.has(hit.item_id) ? "selected" : null },
      element("td", {}, selection.checkbox(hit, title(hit))),
      this.columns.map((index) => COLUMNS[index]).map(([name, valueOf]) => element("td", { dir: "auto", class: ["Rank", "Likely"].includes(name) ? "number" : null }, shown[name]?.() ?? valueOf(hit) ?? "")));
  }

  open(hit) {
    openDialog(title(hit), itemCard(hit, this.context));
    byId("dialog").classList.add("wide");
    byId("dialog").addEventListener("close", (event) => event.target.classList.remove("wide"), { once: true });
  }
}
