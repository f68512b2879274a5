// The answer to a search: the verdict, then the hits of each medium.

import { alikeIn } from "./alike.js";
import { answerDetails, specialVerdict } from "./answer.js";
import { hitCard, keyOf } from "./card.js";
import { move } from "./dock.js";
import { button, count, displayName, element, formatNumber, icon, MEDIA, namesOf, namesWithin, nextFrame, percent, toast } from "./dom.js";
import { askForExport } from "./exports.js";
import { keepPlaying, returnHome } from "./player.js";
import { LARGEST_K } from "./state.js";
import { Table } from "./table.js";
import { locale, t } from "./texts.js";

/** A hit is an answer from this probability on; those below are neighbors. */
const LIKELY = 0.5;

/** Cards of each medium that are there at once; the others follow without holding up the page. */
const FIRST_CARDS = 12;
const BUSY_MILLISECONDS = 40;

/** The class with the largest squared probability, or score, over all hits. */
export function leadingClass(answer) {
  if (answer.query.class_name) return answer.query.class_name;
  const weights = new Map();
  for (const hit of answer.hits) {
    const name = hit.class_name ?? hit.called;
    if (!name) continue;
    weights.set(name, (weights.get(name) ?? 0) + (hit.probability ?? Math.max(0, hit.score)) ** 2);
  }
  return [...weights].sort((one, other) => other[1] - one[1])[0]?.[0] ?? null;
}

function meter(probability, threshold) {
  const bar = element("div", { class: "meter", role: "img", "aria-label": t("{probability}; the threshold is {threshold}", { probability: percent(probability), threshold: percent(threshold) }) }, element("i"), element("b"));
  bar.firstChild.style.width = `${100 * probability}%`;
  bar.lastChild.style.left = `${100 * threshold}%`;
  return bar;
}

/** Tells whether the collection holds the species of the query, and what it most likely is. */
export function verdict(answer) {
  const special = specialVerdict(answer);
  if (special) return special;
  const leader = leadingClass(answer);
  const collection = answer.hits.some((hit) => hit.matched) ? null : answer.collection;
  if (collection && answer.is_called && !collection.is_likely) {
    return element(
      "div",
      { class: "verdict unlikely" },
      element("h2", { text: t("Nothing here is called {name}", { name: displayName(answer.query.class_name) }) }),
      element("p", { text: t("Nothing is labeled so, and the encoders call nothing so. Below are the closest items, probably of other species.") }),
    );
  }
  if (collection && collection.can_tell === false) {
    return element(
      "div",
      { class: "verdict" },
      element("h2", { text: leader ? t("Perhaps {name}", { name: displayName(leader) }) : t("Cannot tell") }),
      element("p", { text: t("Fieldmark cannot tell whether this collection holds the species. Below are the closest items.") }),
      answer.query.medium === "text" ? element("p", { class: "faint", text: t("Your words fit several species. Add details to narrow it down.") }) : null,
    );
  }
  if (collection && collection.is_unlikely) {
    return element(
      "div",
      { class: "verdict unlikely" },
      element("h2", { text: t("Probably not in this collection") }),
      element("p", { text: t("The chance that it holds this species is {probability}. Below are the closest items.", { probability: percent(collection.probability) }) }),
      meter(collection.probability, collection.threshold),
    );
  }
  if (collection && !collection.is_likely) {
    return element(
      "div",
      { class: "verdict" },
      element("h2", { text: leader ? t("Perhaps {name}", { name: displayName(leader) }) : t("Perhaps not in this collection") }),
      element("p", { text: t("The chance that this collection holds the species is {probability}.", { probability: percent(collection.probability) }) }),
      answer.query.medium === "text" ? element("p", { class: "faint", text: t("Your words fit several species. Add details to narrow it down.") }) : null,
      meter(collection.probability, collection.threshold),
    );
  }
  const matched = answer.hits.filter((hit) => hit.matched);
  if (matched.length > 0) {
    const fact = t(matched[0].matched === "path" ? "file name" : matched[0].matched.replaceAll("_", " "));
    return element(
      "div",
      { class: "verdict" },
      element("h2", { text: t("{items} with this {fact}", { items: count(matched.length, "item", "items"), fact }) }),
      element("p", { text: t(matched.length === 1 ? "What follows is like it, or like your words." : "What follows is like them, or like your words.") }),
    );
  }
  const title = answer.query.class_name ? displayName(answer.query.class_name) : leader ? t("Most like {name}", { name: displayName(leader) }) : t("Closest items");
  return element(
    "div",
    { class: "verdict" },
    element("h2", { text: title }),
    answer.query.class_name ? element("p", { text: describeName(answer.query) }) : null,
    collection ? element("p", { text: t("The chance that this collection holds the species is {probability}.", { probability: percent(collection.probability) }) }) : null,
    collection ? meter(collection.probability, collection.threshold) : null,
    answer.is_by_encoders ? element("p", { class: "faint", text: t("Percentages are what the encoders themselves say; too little is labeled here to check them.") }) : null,
  );
}

function describeName(query) {
  return query.species_name ? t("You named {name}, which goes by this name here.", { name: displayName(query.species_name) }) : t("You named this species.");
}

/** What a search found: shown once, then changed in place, so that nothing is drawn twice and nothing loses its place. */
export class Results {
  constructor(answer, context) {
    this.groups = new Map();
    this.turn = 0;
    this.verdict = element("div");
    this.details = element("div");
    this.jumps = element("nav", { class: "jumps", "aria-label": t("Media of the hits") });
    this.count = element("p", { class: "faint found" });
    this.tools = element("div", { class: "tools" });
    this.note = element("p", { class: "faint alike-note", role: "status", hidden: true });
    this.leftOut = element("p", { class: "faint" });
    this.ranges = element("p", { class: "faint" });
    this.place = element("div", { class: "groups" });
    this.bar = element("div", { class: "results-bar" }, this.jumps, this.count, this.tools);
    this.tablePlace = element("div");
    this.node = element("div", { class: "results" }, element("h1", { class: "unseen", text: t("Results") }), this.verdict, this.details, this.bar, this.leftOut, this.ranges, this.note, this.place);
    this.update(answer, context);
  }

  /** Takes another answer to the same question: cards that are there stay, others come and go around them. */
  update(answer, context) {
    this.turn += 1;
    Object.assign(this, { answer, context });
    const isDoubtful = Boolean(answer.collection) && !answer.collection.is_likely;
    this.cardContext = { ...context, isDoubtful: isDoubtful && !answer.is_called, named: answer.query.class_name };
    this.node.classList.toggle("doubtful", isDoubtful);
    const said = verdict(answer);
    this.verdict.replaceWith(said);
    this.verdict = said;
    const details = answerDetails(answer, context.actions);
    this.details.replaceWith(details);
    this.details = details;
    this.showBar();
    this.showHits();
    this.hideAlike();
  }

  /** Shows the hits as cards or as a table; the same way again keeps the place, the other begins at its top. */
  async showHits() {
    const { turn } = this;
    const { asTable } = this.context.state;
    const show = () => (asTable ? this.showTable() : this.showCards());
    if (this.asTable === asTable) return this.keepPlace(show);
    const isFirst = this.asTable === undefined;
    this.asTable = asTable;
    const [shown, other] = asTable ? [this.tablePlace, this.place] : [this.place, this.tablePlace];
    keepPlaying(other); // in the dock, where it can be stopped
    rest(other);
    if (asTable && !isFirst) await this.takeCardsAway();
    if (this.asTable !== asTable) return undefined;
    other.replaceWith(shown);
    if (!asTable && !isFirst) await this.bringCardsBack();
    if (this.asTable !== asTable) return undefined;
    returnHome();
    if (turn !== this.turn) return undefined;
    show();
    if (!isFirst && shown.getBoundingClientRect().top < 0) shown.scrollIntoView({ block: "start", behavior: "instant" });
    return undefined;
  }

  /** Takes the cards from the page, the last medium first: 800 at once are too many for one frame. */
  async takeCardsAway() {
    for (const group of [...this.place.children].reverse()) {
      group.remove();
      await nextFrame();
      if (!this.asTable) return;
    }
  }

  async bringCardsBack() {
    for (const { node } of this.groups.values()) {
      if (!node.isConnected) this.place.append(node);
      await nextFrame();
      if (this.asTable) return;
    }
  }

  hitsOf(medium) {
    return this.answer.hits.filter((hit) => hit.medium === medium);
  }

  get media() {
    return MEDIA.filter((medium) => this.answer.hits.some((hit) => hit.medium === medium));
  }

  /** The hits that are shown: without those that are hidden as nearly identical. */
  get shownHits() {
    return this.answer.hits.filter((hit) => !this.alike?.hidden.has(hit.item_id));
  }

  showBar() {
    const { answer, context } = this;
    const { state, actions, selection } = context;
    const seconds = answer.seconds ? t(" in {seconds} s", { seconds: (answer.seconds.encode + answer.seconds.search).toLocaleString(locale(), { minimumFractionDigits: 2, maximumFractionDigits: 2 }) }) : "";
    this.jumps.replaceChildren(...this.media.map((medium) =>
      element("a", { href: `#group-${medium}`, class: medium, onclick: (event) => this.jump(event, medium) }, icon(medium), element("span", {}, namesOf(medium), " ", element("span", { class: "number", text: formatNumber(this.hitsOf(medium).length) })))));
    this.jumps.hidden = state.asTable;
    this.count.textContent = `${count(answer.hits.length, "hit", "hits")}${seconds}`;
    const close = (event) => (event.target.closest("details").open = false);
    const entry = (name, text, act) => button(name, { text, class: "plain", onclick: (event) => (close(event), act()) });
    const menu = element("details", { class: "menu more-menu" },
      element("summary", { class: "plain framed", "aria-label": t("With all hits") }, icon("dots")),
      element("div", { class: "menu-list" },
        entry("select", t("Select all"), () => selection.set(this.shownHits, true)),
        entry("alike", t(state.isDistinct ? "Show near-identical" : "Hide near-identical"), () => actions.change({ isDistinct: !state.isDistinct })),
        entry("export", t("Export all"), () => askForExport(this.shownHits)),
        entry("link", t("Copy the link"), actions.copyLink)));
    const views = element("div", { class: "switch", role: "group", "aria-label": t("Shown as") }, [["cards", "Cards", false], ["table", "Table", true]].map(([name, text, asTable]) =>
      button(name, { label: t(text), class: "plain", "aria-pressed": String(state.asTable === asTable), onclick: () => actions.change({ asTable }) })));
    const focused = this.tools.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
    this.tools.replaceChildren(views, menu);
    if (focused) this.tools.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    this.ranges.hidden = !answer.seen;
    const unlikely = answer.unlikely ? ` ${t("The species that you name is unlikely: {reason}.", { reason: answer.unlikely })}` : "";
    if (answer.seen) this.ranges.textContent = t("Hits are judged by ranges for {seen}.", { seen: answer.seen }) + unlikely;
    this.leftOut.hidden = !answer.left_out?.length;
    if (answer.left_out?.length) this.leftOut.textContent = t("Left out, as no encoder compares them with your query: {media}.", { media: answer.left_out.map((medium) => namesWithin(medium)).join(", ") });
  }

  /** Goes to the hits of a medium, without a new search and without a new entry of the history. */
  jump(event, medium) {
    event.preventDefault();
    const { heading } = this.groups.get(medium);
    heading.focus({ preventScroll: true });
    heading.scrollIntoView({ block: "start" });
  }

  showTable() {
    this.table ??= new Table(this.context);
    if (!this.table.node.isConnected) this.tablePlace.append(this.table.node);
    this.table.update(this.answer.hits, this.cardContext);
  }

  showCards() {
    const late = [];
    let before = null;
    for (const medium of MEDIA) {
      const hits = this.hitsOf(medium);
      let group = this.groups.get(medium);
      if (hits.length === 0) {
        if (group) keepPlaying(group.node);
        group?.node.remove();
        this.groups.delete(medium);
        continue;
      }
      if (!group) this.groups.set(medium, (group = new Group(medium)));
      const next = before ? before.nextSibling : this.place.firstChild;
      if (group.node !== next) move(group.node, this.place, next);
      late.push(...group.update(hits, this.cardContext));
      before = group.node;
    }
    this.finish(late, this.turn);
  }

  /** Makes what is still missing, a few cards at a time, until another answer comes. */
  async finish(late, turn) {
    while (late.length > 0) {
      await nextFrame();
      if (turn !== this.turn) return;
      const end = performance.now() + BUSY_MILLISECONDS;
      do late.shift()(); while (late.length > 0 && performance.now() < end);
    }
    this.applyAlike();
  }

  /** Changes the view while what the reader looks at stays where it is, focused and playing. */
  keepPlace(change) {
    const focused = this.node.contains(document.activeElement) ? document.activeElement : null;
    const seen = focused && isInSight(focused) ? focused : findInSight();
    const before = seen?.getBoundingClientRect().top;
    const root = document.documentElement;
    root.classList.add("changing"); // the browser's own anchoring would count twice
    change();
    if (focused?.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
    if (seen?.isConnected) scrollBy({ top: seen.getBoundingClientRect().top - before, behavior: "instant" });
    requestAnimationFrame(() => root.classList.remove("changing"));
  }

  showMarks() {
    for (const group of this.groups.values()) group.cards.forEach((card) => card.showMark());
  }

  /** Hides all but the first of nearly identical hits, if that is wanted. */
  async hideAlike() {
    const { turn } = this;
    if (!this.context.state.isDistinct) {
      this.alike = null;
      return this.applyAlike();
    }
    try {
      this.note.hidden = false;
      this.note.textContent = t("Looking for near-identical hits …");
      const found = await alikeIn(this.media.map((medium) => this.hitsOf(medium)));
      if (turn !== this.turn) return undefined;
      this.alike = found;
    } catch (error) {
      toast(error.message);
    }
    return this.applyAlike();
  }

  applyAlike() {
    const hidden = this.alike?.hidden ?? new Map();
    for (const each of this.node.querySelectorAll("[data-item]")) each.hidden = hidden.has(each.dataset.item);
    this.note.hidden = !this.alike;
    if (this.alike) this.note.textContent = hidden.size > 0 ? t("{hits} hidden: nearly identical to others.", { hits: count(hidden.size, "hit is", "hits are") }) : t("No hits are nearly identical.");
  }
}

/** Notes how high the cards of a view are that goes: when it comes back, those out of sight need no layout. */
export function rest(view) {
  for (const frame of view.querySelectorAll(".hits-frame")) frame.dataset.top = frame.scrollTop;
  const cards = [...view.querySelectorAll("li.card")];
  const heights = cards.map((each) => each.getBoundingClientRect().height - (each.offsetHeight - each.clientHeight));
  for (const [index, card] of cards.entries()) {
    if (heights[index] <= 0) continue; // hidden as nearly identical
    card.style.containIntrinsicBlockSize = `${heights[index]}px`;
    card.classList.add("rested");
  }
}

/** Gives a view that is back what leaving the page takes from it: how far its table was scrolled. */
export function unrest(view) {
  for (const frame of view.querySelectorAll(".hits-frame[data-top]")) frame.scrollTop = Number(frame.dataset.top);
}

/** A card or a row that the reader looks at: one of those in the middle of the window, if there is any. */
function findInSight() {
  for (const down of [0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8]) {
    for (const across of [0.3, 0.6]) {
      const found = document.elementFromPoint(innerWidth * across, innerHeight * down)?.closest(".results li.card, .results tr");
      if (found) return found;
    }
  }
  return null;
}

const isInSight = (node) => {
  const box = node.getBoundingClientRect();
  return box.bottom > 60 && box.top < innerHeight && box.height > 0;
};

/** The hits of one medium. */
class Group {
  constructor(medium) {
    this.medium = medium;
    this.cards = new Map();
    this.number = element("span", { class: "faint number" });
    this.heading = element("h2", { id: `group-${medium}`, tabindex: -1 }, icon(medium), namesOf(medium), this.number);
    this.list = element("ol", { class: "cards" });
    this.line = element("li", { class: "line", text: t("From here on, probably other species") });
    this.more = button("plus", { text: t("Show more"), class: "plain framed more", "aria-label": t("Show more of these: {media}", { media: namesOf(medium) }) });
    this.node = element("section", { class: `group ${medium}`, "aria-labelledby": `group-${medium}` }, this.heading, this.list, this.more);
  }

  /** Shows hits in their order; returns what is still to be made, as functions. */
  update(hits, context) {
    const wanted = new Map(hits.map((hit) => [keyOf(hit), hit]));
    for (const [key, card] of this.cards) {
      if (wanted.get(key)?.class_name === card.className && wanted.has(key)) continue;
      keepPlaying(card.node);
      card.node.remove();
      this.cards.delete(key);
    }
    const end = hits.findIndex((hit) => hit.probability !== null && hit.probability !== undefined && hit.probability < LIKELY);
    const late = [];
    let before = null; // the node of the hit before
    const put = (node, after) => {
      const next = after ? after.nextSibling : this.list.firstChild;
      if (node !== next) move(node, this.list, next);
    };
    this.line.remove();
    for (const [index, hit] of hits.entries()) {
      const key = keyOf(hit);
      const held = this.cards.get(key);
      if (!held && index >= FIRST_CARDS) {
        late.push(() => {
          const made = this.add(hit, index, context);
          put(made.node, this.cards.get(keyOf(hits[index - 1]))?.node);
          if (index === end) made.node.before(this.line);
        });
        continue;
      }
      const card = held ? held.update(hit, index + 1, context) : this.add(hit, index, context);
      put(card.node, before);
      before = card.node;
    }
    if (end > 0) this.cards.get(keyOf(hits[end]))?.node.before(this.line);
    this.number.textContent = formatNumber(hits.length);
    this.more.hidden = hits.length < context.state.k || context.state.k >= LARGEST_K;
    this.more.onclick = context.actions.showMore;
    return late;
  }

  add(hit, index, context) {
    const card = hitCard(hit, index + 1, context);
    this.cards.set(keyOf(hit), card);
    return card;
  }
}

/** The view where nothing passed the filters, for a reason that the server gives, or the gallery is empty. */
export function nothingFound({ isFiltered, reason = t("No item in the collection passes these filters."), clearFilters }) {
  return element(
    "div",
    { class: "panel" },
    element("h2", { text: t("Nothing found") }),
    element("p", { text: isFiltered ? reason : t("The collection is still empty. Index a folder first.") }),
    isFiltered ? button("wrong", { text: t("Clear the filters"), class: "plain framed", onclick: clearFilters }) : null,
  );
}

/** Gray cards where the hits will be. */
export function waitingView() {
  const cards = (medium, number) => element("section", { class: `group ${medium}` }, element("div", { class: "bone title" }), element("div", { class: "cards" }, Array.from({ length: number }, () => element("div", { class: "card bone" }))));
  return element("div", { class: "results waiting", "aria-hidden": "true" }, element("div", { class: "bone verdict" }), cards("image", 4), cards("audio", 2));
}

/** What a reload has lost: the files of the query, which never leave the tab. */
export function neededView(files, choose) {
  return element(
    "div",
    { class: "panel" },
    element("h2", { text: t("This search needs your file again") }),
    element("p", { dir: "auto", text: t("It was made with {names}. Files stay in the tab and are gone after a reload. Choose or drop the same file to see the results again.", { names: files.map((each) => each.name).join(", ") }) }),
    button("file", { text: t("Choose the file"), class: "primary", onclick: choose }),
  );
}
