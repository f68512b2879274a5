// Cards: one hit or one item, with its content, facts and buttons.

import { makeUrl, getText } from "./api.js";
import { button, element, icon, MEDIUM_NAMES, percent, formatName } from "./dom.js";
import { createPlayer, whenNear } from "./player.js";
import { inWords } from "./subject.js";

const TEXT_LINES = 420;

/** A picture of the item; null if it has none. */
export function picture(part, pixels = 480) {
  if (part.thumbnail_url === null) return null;
  const alt = `${formatName(part.class_name)}, ${MEDIUM_NAMES[part.medium][0]} ${part.name ?? part.item_id}`;
  return element("img", { src: makeUrl(part.thumbnail_url, { pixels }), alt, loading: "lazy", width: pixels, height: pixels });
}

function quotation(part) {
  if (part.text !== null) return quoted(part.text);
  const holder = element("div", {}, element("blockquote", { class: "faint", text: "…" }));
  whenNear(holder, async () => {
    try {
      holder.replaceChildren(quoted(await getText(part.media_url)));
    } catch (error) {
      holder.replaceChildren(element("p", { class: "faint", text: `This text cannot be shown: ${error.message}` }));
    }
  });
  return holder;
}

function quoted(text) {
  if (text.length <= TEXT_LINES) return element("blockquote", { text });
  const rest = element("details", {}, element("summary", { text: "Show all" }), element("p", { text }));
  return element("div", {}, element("blockquote", { text: `${text.slice(0, TEXT_LINES)} …` }), rest);
}

/** The photo, player or text of an item. */
export function content(part, pixels) {
  if (part.medium === "text") return quotation(part);
  if (part.medium === "image") return element("a", { class: "photo", href: part.media_url, target: "_blank", rel: "noopener" }, picture(part, pixels));
  return createPlayer(part) ?? picture(part);
}

/** The one number of a card, in plain words; its similarity where it has no probability. */
function score(hit, isDoubtful) {
  if (hit.probability === null || hit.probability === undefined) return element("p", { class: "score", title: "similarity; larger is closer" }, hit.score.toFixed(3));
  return element("p", { class: "score" }, element("strong", { text: percent(hit.probability) }), element("span", { class: "faint", text: isDoubtful ? " if it is in the collection" : " likely" }));
}

/** Why a hit is one, folded: its similarity, and how clearly it is this class and not its look-alike. */
function reason(hit, actions, named) {
  if (hit.matched) return element("p", { class: "reason", text: `has this ${hit.matched === "path" ? "file name" : hit.matched.replaceAll("_", " ")}` });
  const side = (hit.margin ?? 0) >= 0 ? "closer than" : "farther than";
  const rival = hit.look_alike && hit.margin !== null ? element("p", {}, `${Math.abs(hit.margin).toFixed(3)} ${side} `, element("button", {
    type: "button",
    class: "linkish",
    text: formatName(hit.look_alike),
    "aria-label": `Compare ${formatName(hit.class_name)} with ${formatName(hit.look_alike)}`,
    onclick: () => actions.compare(hit.class_name, hit.look_alike),
  })) : null;
  const called = hit.class_name === null && hit.called ? element("p", { text: `Called so by its encoder: ${percent(hit.called_probability)}` }) : null;
  const meaning = inWords("The percentage is the probability that this is the same species.");
  return element(
    "details",
    { class: "why" },
    element("summary", { text: named !== null && hit.class_name === named ? "Why: matches the name" : "Why" }),
    element("p", { text: `Similarity ${hit.score.toFixed(3)}; larger is closer.` }), rival, called,
    hit.probability === null || hit.probability === undefined ? null : element("p", { text: meaning }));
}

/** A source, as a link only if it is a web address: another scheme could run something. */
function sourceText(source) {
  if (/^https?:\/\//i.test(source)) {
    return element("a", { href: source, target: "_blank", rel: "noopener noreferrer", text: source.replace(/^https?:\/\/(www\.)?/i, "") });
  }
  return source;
}

const coordinates = (part) => {
  if (part.latitude === null || part.longitude === null) return null;
  const uncertainty = part.coordinate_uncertainty_meters === null ? "" : ` ± ${part.coordinate_uncertainty_meters.toLocaleString("en")} m`;
  return `${part.latitude.toFixed(5)}, ${part.longitude.toFixed(5)}${uncertainty}`;
};

const joined = (values, separator) => values.filter(Boolean).join(separator) || null;

/** What the record of an item says, then all other columns that came with it. */
function recordRows(part) {
  return [
    ["Catalog number", part.catalog_number],
    ["Occurrence", part.occurrence_id && sourceText(part.occurrence_id)],
    ["Date", part.event_date],
    ["Place", joined([part.place, part.country_code], ", ")],
    ["Coordinates", coordinates(part)],
    ["Recorded by", part.recorded_by],
    ["Basis of record", part.basis_of_record],
    ["Scientific name", joined([part.scientific_name, part.authorship && !part.scientific_name?.includes(part.authorship) ? part.authorship : null], " ")],
    ["Rank", part.taxon_rank],
    ["Rights holder", part.rights_holder],
  ];
}

function facts(part, actions) {
  const given = part.license_form && part.license_form !== part.license ? ` (${part.license})` : "";
  const rows = [
    ...recordRows(part),
    ["Set", part.set_name],
    ["Source", part.source && sourceText(part.source)],
    ["License", part.license && `${part.license_form ?? part.license}${given}`],
    ["File", part.name],
    ["Id", part.item_id],
    ["Group", part.group && actions && element("button", { type: "button", class: "linkish", text: part.group, title: "Show only this group", onclick: () => actions.onlyGroup(part.group) })],
    ...Object.entries(part.facts).map(([name, value]) => [name, value && sourceText(value)]),
  ].filter(([, value]) => value);
  return element(
    "details",
    { class: "facts" },
    element("summary", {}, element("span", { class: "origin", text: [part.event_date, part.place ?? part.country_code, part.set_name, part.license_form ?? part.license].filter(Boolean).join(" · ") || "Source" })),
    element("dl", {}, rows.flatMap(([name, value]) => [element("dt", { text: name }), element("dd", {}, value)])),
  );
}

/** The class of a hit; without one, what its encoder calls it. */
function title(hit) {
  return formatName(hit.class_name ?? hit.called ?? null);
}

function markButton(name, label, hit, marks) {
  const value = name === "right" ? "relevant" : "irrelevant";
  return button(name, {
    label: `${label}: ${title(hit)}, ${hit.item_id}`,
    class: `plain round mark-${name}`,
    "aria-pressed": String(marks.of(hit.item_id) === value),
    "data-mark": `${hit.item_id} ${value}`,
    onclick: () => marks.toggle(hit, value),
  });
}

/**
 * A hit of a search. `rank` counts the hits of its medium; `actions`: compare, moreLike, onlyGroup;
 * `marks`: what the user marked right and wrong; `isDoubtful`: the collection may lack the species.
 */
export function hitCard(hit, rank, { actions, marks, named, isDoubtful = false }) {
  const mark = marks.of(hit.item_id);
  return element(
    "li",
    { class: `card ${hit.medium} ${mark ?? ""}`, "data-item": hit.item_id },
    element("article", { "aria-label": `${rank}. ${title(hit)}, ${MEDIUM_NAMES[hit.medium][0]}` },
      element("header", {},
        element("span", { class: "rank", title: `rank ${hit.rank} among the hits of all media`, text: rank }),
        element("h3", { text: title(hit) }),
        score(hit, isDoubtful)),
      element("div", { class: "content" }, content(hit)),
      reason(hit, actions, named),
      hit.unlikely ? element("p", { class: "reason", text: `unlikely: ${hit.unlikely}` }) : null,
      element("footer", {},
        facts(hit, actions),
        element("div", { class: "actions" },
          markButton("right", "Right", hit, marks),
          markButton("wrong", "Wrong", hit, marks),
          button("more", { label: `More like ${hit.item_id}`, class: "plain round", onclick: () => actions.moreLike(hit.item_id) }),
          hit.class_name ? button("compare", { label: inWords(`Compare ${title(hit)} with another species`), class: "plain round", onclick: () => actions.compare(hit.class_name, hit.look_alike ?? null) }) : null))),
  );
}

/** An item outside of a search, beside the map. */
export function itemCard(item, { actions }) {
  return element(
    "article",
    { class: `card ${item.medium}`, "data-item": item.item_id },
    element("header", {}, icon(item.medium), element("h3", { text: formatName(item.class_name) })),
    element("div", { class: "content" }, content(item)),
    element("footer", {}, facts(item, actions), element("div", { class: "actions" }, button("more", { text: "More like this", class: "plain framed", onclick: () => actions.moreLike(item.item_id) }))),
  );
}
