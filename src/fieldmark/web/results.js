// The answer to a search: the verdict, then the hits of each medium.

import { answerDetails, specialVerdict } from "./answer.js";
import { hitCard } from "./card.js";
import { button, count, element, icon, MEDIA, MEDIUM_NAMES, percent, formatName } from "./dom.js";
import { inWords } from "./subject.js";

export const FORMATS = { csv: "Table (CSV)", raven: "Raven selection table", audacity: "Audacity labels", dwc: "Darwin Core occurrences", dwca: "Darwin Core Archive", inaturalist: "iNaturalist table" };

/** A hit is an answer from this probability on; those below are neighbors. */
const LIKELY = 0.5;

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
  const bar = element("div", { class: "meter", role: "img", "aria-label": `${percent(probability)}; the threshold is ${percent(threshold)}` }, element("i"), element("b"));
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
      element("h2", { text: `Nothing here is called ${formatName(answer.query.class_name)}` }),
      element("p", { text: inWords("Nothing is labeled so, and the encoders call nothing so. Below are the closest items, probably of other species.") }),
    );
  }
  if (collection && collection.can_tell === false) {
    return element(
      "div",
      { class: "verdict" },
      element("h2", { text: leader ? `Perhaps ${formatName(leader)}` : "Cannot tell" }),
      element("p", { text: inWords("Fieldmark cannot tell whether this collection holds the species. Below are the closest items.") }),
      answer.query.medium === "text" ? element("p", { class: "faint", text: inWords("Your words fit several species. Add details to narrow it down.") }) : null,
    );
  }
  if (collection && collection.is_unlikely) {
    return element(
      "div",
      { class: "verdict unlikely" },
      element("h2", { text: "Probably not in this collection" }),
      element("p", {}, inWords(`There is a ${percent(collection.probability)} chance that it holds this species. Below are the closest items`), leader ? `: ${formatName(leader)} and others.` : "."),
      meter(collection.probability, collection.threshold),
    );
  }
  if (collection && !collection.is_likely) {
    return element(
      "div",
      { class: "verdict" },
      element("h2", { text: leader ? `Perhaps ${formatName(leader)}` : "Perhaps not in this collection" }),
      element("p", { text: inWords(`There is a ${percent(collection.probability)} chance that this collection holds the species.`) }),
      answer.query.medium === "text" ? element("p", { class: "faint", text: inWords("Your words fit several species. Add details to narrow it down.") }) : null,
      meter(collection.probability, collection.threshold),
    );
  }
  const matched = answer.hits.filter((hit) => hit.matched);
  if (matched.length > 0) {
    const fact = matched[0].matched === "path" ? "file name" : matched[0].matched.replaceAll("_", " ");
    return element(
      "div",
      { class: "verdict" },
      element("h2", { text: `${count(matched.length, "item", "items")} with this ${fact}` }),
      element("p", { text: "What follows is like them, or like your words." }),
    );
  }
  const title = answer.query.class_name ? formatName(answer.query.class_name) : leader ? `Most like ${formatName(leader)}` : "Closest items";
  return element(
    "div",
    { class: "verdict" },
    element("h2", { text: title }),
    answer.query.class_name ? element("p", { text: describeName(answer.query) }) : null,
    collection ? element("p", { text: inWords(`There is a ${percent(collection.probability)} chance that the collection holds this species.`) }) : null,
    collection ? meter(collection.probability, collection.threshold) : null,
    answer.is_by_encoders ? element("p", { class: "faint", text: "Percentages are what the encoders themselves say; too little is labeled here to check them." }) : null,
  );
}

function describeName(query) {
  return query.species_name ? `You named ${formatName(query.species_name)}, which goes by this name here.` : inWords("You named this species.");
}

function exportMenu(hits, onExport) {
  return element(
    "details",
    { class: "menu" },
    element("summary", { class: "plain framed" }, icon("export"), element("span", { text: "Export" })),
    element("div", { class: "menu-list" }, Object.entries(FORMATS).map(([format, text]) =>
      element("button", { type: "button", class: "plain", text, onclick: (event) => (event.target.closest("details").open = false, onExport(format, hits)) }))),
  );
}

function groupOf(medium, hits, context) {
  const [, many] = MEDIUM_NAMES[medium];
  const heading = element("h2", { id: `group-${medium}`, tabindex: -1 }, icon(medium), many, element("span", { class: "faint number", text: hits.length }));
  const cards = hits.map((hit, index) => hitCard(hit, index + 1, context));
  const end = hits.findIndex((hit) => hit.probability !== null && hit.probability !== undefined && hit.probability < LIKELY);
  if (end > 0) cards.splice(end, 0, element("li", { class: "line", text: inWords("From here on, probably other species") }));
  return element("section", { class: `group ${medium}`, "aria-labelledby": `group-${medium}` }, heading, element("ol", { class: "cards" }, cards));
}

/** The view of an answer. `context`: actions, marks, state. */
export function resultsView(answer, context) {
  const groups = MEDIA.map((medium) => [medium, answer.hits.filter((hit) => hit.medium === medium)]).filter(([, hits]) => hits.length > 0);
  const isDoubtful = Boolean(answer.collection) && !answer.collection.is_likely;
  const seconds = answer.seconds ? ` in ${(answer.seconds.encode + answer.seconds.search).toFixed(2)} s` : "";
  const jumps = element("nav", { class: "jumps", "aria-label": "Media of the hits" }, groups.map(([medium, hits]) =>
    element("a", { href: `#group-${medium}`, class: medium }, icon(medium), `${MEDIUM_NAMES[medium][1]} ${hits.length}`)));
  const longest = Math.max(0, ...groups.map(([, hits]) => hits.length));
  return element(
    "div",
    { class: `results ${isDoubtful ? "doubtful" : ""}` },
    verdict(answer),
    answerDetails(answer, context.actions),
    element("div", { class: "results-bar" }, jumps, element("p", { class: "faint", text: `${count(answer.hits.length, "hit", "hits")}${seconds}` }), exportMenu(answer.hits, context.actions.exportHits)),
    answer.seen ? element("p", { class: "faint", text: `Hits are judged by ranges for ${answer.seen}.${answer.unlikely ? ` The species that you name is unlikely: ${answer.unlikely}.` : ""}` }) : null,
    answer.left_out?.length ? element("p", { class: "faint", text: `Left out, as no encoder compares them with your query: ${answer.left_out.map((medium) => MEDIUM_NAMES[medium][1].toLowerCase()).join(", ")}.` }) : null,
    groups.map(([medium, hits]) => groupOf(medium, hits, { ...context, isDoubtful: isDoubtful && !answer.is_called, named: answer.query.class_name })),
    longest >= context.state.k && context.state.k < 200 ? button("plus", { text: "Show more of each", class: "plain framed more", onclick: context.actions.showMore }) : null,
  );
}

/** The view where nothing passed the filters, for a reason that the server gives, or the gallery is empty. */
export function nothingFound({ isFiltered, reason = "No item in the collection passes these filters.", clearFilters }) {
  return element(
    "div",
    { class: "panel" },
    element("h2", { text: "Nothing found" }),
    element("p", { text: isFiltered ? reason : "The collection is still empty. Index a folder first." }),
    isFiltered ? button("wrong", { text: "Clear the filters", class: "plain framed", onclick: clearFilters }) : null,
  );
}

/** Gray cards where the hits will be. */
export function waitingView() {
  const cards = (medium, number) => element("section", { class: `group ${medium}` }, element("div", { class: "bone title" }), element("div", { class: "cards" }, Array.from({ length: number }, () => element("div", { class: "card bone" }))));
  return element("div", { class: "results waiting", "aria-hidden": "true" }, element("div", { class: "bone verdict" }), cards("image", 4), cards("audio", 2));
}
