// Cards: one hit or one item, with its content, facts and buttons.

import { makeUrl, getText } from "./api.js";
import { button, displayName, element, icon, formatNumber, nameNodes, nameOf, percent, whenNear } from "./dom.js";
import { createPlayer } from "./player.js";
import { t } from "./texts.js";

const TEXT_CHARACTERS = 260;

/** A picture of the item, cut to a square or whole; null if it has none. */
export function picture(part, { pixels = 480, isWhole = false } = {}) {
  if (part.thumbnail_url === null) return null;
  const alt = `${displayName(part.class_name)}, ${nameOf(part.medium)} ${part.name ?? part.item_id}`;
  return element("img", { src: makeUrl(part.thumbnail_url, { pixels, whole: isWhole || null }), alt, loading: "lazy", width: pixels, height: pixels });
}

function quotation(part) {
  if (part.text !== null) return element("div", { class: "quote" }, quoted(part.text));
  const holder = element("div", { class: "quote" }, element("blockquote", { class: "faint", text: "…" }));
  whenNear(holder, async () => {
    try {
      holder.replaceChildren(quoted(await getText(part.media_url)));
    } catch (error) {
      holder.replaceChildren(element("p", { class: "faint", text: t("This text cannot be shown: {reason}", { reason: error.message }) }));
    }
  });
  return holder;
}

function quoted(text) {
  if (text.length <= TEXT_CHARACTERS) return element("blockquote", { dir: "auto", text });
  const rest = element("details", {}, element("summary", { text: t("Show all") }), element("p", { dir: "auto", text }));
  return element("div", {}, element("blockquote", { dir: "auto", text: `${text.slice(0, TEXT_CHARACTERS)} …` }), rest);
}

/** The photo, player or text of an item. */
export function content(part, options) {
  if (part.medium === "text") return quotation(part);
  if (part.medium === "image") return element("a", { class: "photo", href: part.media_url, target: "_blank", rel: "noopener" }, picture(part, options));
  return createPlayer(part) ?? picture(part, options);
}

/** The similarity of a hit for reading; empty for one that was looked up or listed, as it was compared with nothing. */
export const scoreOf = (hit) => (hit.is_compared ? hit.score.toFixed(3) : "");

/** The one number of a card, in plain words; its similarity where it has no probability. */
function score(hit, isDoubtful) {
  if (hit.probability === null || hit.probability === undefined) return element("p", { class: "score", title: hit.is_compared ? t("similarity; larger is closer") : null }, scoreOf(hit));
  const text = isDoubtful ? t("if it is in the collection") : t("likely");
  return element("p", { class: "score" }, element("strong", { text: percent(hit.probability) }), element("span", { class: "faint", text: ` ${text}` }));
}

/** What a hit has that was asked for, word for word; null if it is only like it. */
const matchOf = (hit) => hit.matched && element("p", { class: "reason", text: t("has this {fact}", { fact: t(hit.matched === "path" ? "file name" : hit.matched.replaceAll("_", " ")) }) });

/** Why a hit is one: its similarity, and how clearly it is this class and not its look-alike. */
function reasons(hit, actions) {
  const rival = hit.look_alike && hit.margin !== null ? element("p", {}, `${Math.abs(hit.margin).toFixed(3)} ${t(hit.margin >= 0 ? "closer than" : "farther than")} `, element("button", {
    type: "button",
    class: "linkish",
    text: displayName(hit.look_alike),
    dir: "auto",
    "aria-label": t("Compare {one} with {other}", { one: displayName(hit.class_name), other: displayName(hit.look_alike) }),
    onclick: () => actions.compare([hit.class_name, hit.look_alike]),
  })) : null;
  return [
    element("p", { text: hit.is_compared ? t("Similarity {score}; larger is closer.", { score: scoreOf(hit) }) : t("It was found by what is known of it, and compared with nothing.") }),
    rival,
    hit.class_name === null && hit.called ? element("p", { text: t("called so by its encoder: {probability}", { probability: percent(hit.called_probability) }) }) : null,
    hit.probability === null || hit.probability === undefined ? null : element("p", { text: t("The percentage is the probability that this is the same species.") }),
  ].filter(Boolean);
}

/** The fold with the reasons, which are made when it is opened; `update` takes the hit of another answer. */
function foldedReasons(actions) {
  const summary = element("summary");
  const node = element("details", { class: "why" }, summary);
  let hit = null;
  const fill = () => node.open && node.replaceChildren(summary, ...reasons(hit, actions));
  node.addEventListener("toggle", fill);
  const update = (now, named) => {
    hit = now;
    summary.textContent = named !== null && hit.class_name === named ? t("Why: matches the name") : t("Why");
    node.hidden = Boolean(hit.matched);
    fill();
  };
  return { node, update };
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
  const uncertainty = part.coordinate_uncertainty_meters === null ? "" : ` ± ${formatNumber(part.coordinate_uncertainty_meters)} m`;
  return `${part.latitude.toFixed(5)}, ${part.longitude.toFixed(5)}${uncertainty}`;
};

const joined = (values, separator) => values.filter(Boolean).join(separator) || null;

/** The scientific name in italics; its author is not. */
function scientific({ scientific_name: name, authorship }) {
  if (!name) return null;
  const author = authorship && !name.includes(authorship) ? ` ${authorship}` : "";
  return element("span", {}, element("i", { lang: "la", text: name }), author);
}

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
    ["Scientific name", scientific(part)],
    ["Rank", part.taxon_rank],
    ["Rights holder", part.rights_holder],
  ];
}

/** Who gave an item its class, when and from what; what is not known is left out. */
function provenance(label) {
  if (!label) return null;
  return [
    label.saved_by ? t("by {person}", { person: label.saved_by }) : t("by somebody"),
    label.saved_at?.replace("T", " ").replace("+00:00", " UTC"),
    label.basis && t("from {basis}", { basis: label.basis }),
    label.former ? t("before: {name}", { name: displayName(label.former) }) : t("before: no class"),
  ].filter(Boolean).join(", ");
}

/** What stands in one line below an item: date, place, observer, number, rights. */
export const summary = (part) =>
  [part.event_date, part.place ?? part.country_code, part.recorded_by, part.catalog_number, part.license_form ?? part.license ?? part.rights_holder, part.set_name].filter(Boolean).join(" · ");

function facts(part, actions) {
  const given = part.license_form && part.license_form !== part.license ? ` (${part.license})` : "";
  const rows = [
    ...recordRows(part),
    ["Label given", provenance(actions?.labelOf?.(part.item_id))],
    ["Set", part.set_name],
    ["Source", part.source && sourceText(part.source)],
    ["License", part.license && `${part.license_form ?? part.license}${given}`],
    ["File", part.name],
    ["Id", part.item_id],
    ["Group", part.group && actions && element("button", { type: "button", class: "linkish", text: part.group, title: t("Show only this group"), onclick: () => actions.onlyGroup(part.group) })],
    ...Object.entries(part.facts).map(([name, value]) => [name, value && sourceText(value)]),
  ].filter(([, value]) => value);
  return element("dl", {}, rows.flatMap(([name, value]) => [element("dt", { text: t(name), dir: "auto" }), element("dd", { dir: "auto" }, value)]));
}

/** The facts of an item behind their first line; they are made when they are opened. */
function factsOf(part, actions) {
  const made = element("details", { class: "facts" }, element("summary", {}, element("span", { class: "origin", dir: "auto", text: summary(part) || t("Source") })));
  made.addEventListener("toggle", () => made.open && made.children.length === 1 && made.append(facts(part, actions)));
  return made;
}

/** The class of a hit; without one, what its encoder calls it. */
export const title = (hit) => displayName(hit.class_name ?? hit.called ?? null);

function markButton(name, label, hit, marks) {
  const value = name === "right" ? "relevant" : "irrelevant";
  return button(name, {
    label: `${t(label)}: ${title(hit)}, ${hit.item_id}`,
    class: `plain round mark-${name}`,
    "aria-pressed": String(marks.of(hit.item_id) === value),
    "data-mark": `${hit.item_id} ${value}`,
    onclick: () => marks.toggle(hit, value),
  });
}

/** What tells hits apart in one answer: an item, and its moment where each moment is a hit. */
export const keyOf = (hit) => `${hit.item_id} ${hit.start_seconds ?? ""}`;

/**
 * A hit of a search: its node, and `update`, which takes the same hit of another answer.
 * `rank` counts the hits of its medium; `context`: actions (compare, moreLike, onlyGroup), marks (what the user marked
 * right and wrong), selection, named, isDoubtful (the collection may lack the species).
 */
export function hitCard(hit, rank, context) {
  const { actions, marks, selection } = context;
  const heading = element("h3", {}, nameNodes(hit.class_name ?? hit.called ?? null, hit.scientific_name));
  const number = element("span", { class: "rank" });
  const slots = { score: element("span"), matched: element("span"), unlikely: element("span") };
  const why = foldedReasons(actions);
  const article = element("article", {},
    element("header", {}, number, heading, slots.score, selection.checkbox(hit, title(hit))),
    element("div", { class: "content" }, content(hit)),
    slots.matched,
    why.node,
    slots.unlikely,
    element("footer", {},
      factsOf(hit, actions),
      element("div", { class: "actions" },
        markButton("right", "Right", hit, marks),
        markButton("wrong", "Wrong", hit, marks),
        button("more", { label: t("More like {name}", { name: hit.item_id }), class: "plain round", onclick: () => actions.moreLike(hit.item_id) }),
        hit.class_name ? button("compare", { label: t("Compare {name} with another species", { name: title(hit) }), class: "plain round", onclick: () => actions.compare([hit.class_name, hit.look_alike ?? null]) }) : null)));
  const node = element("li", { class: `card ${hit.medium}`, "data-item": hit.item_id }, article);
  const replace = (name, made) => {
    const now = made ?? element("span", { hidden: true });
    slots[name].replaceWith(now);
    slots[name] = now;
  };
  const card = { node, className: hit.class_name, shown: [] };
  card.showMark = () => {
    const mark = marks.of(hit.item_id);
    node.classList.toggle("relevant", mark === "relevant");
    node.classList.toggle("irrelevant", mark === "irrelevant");
    for (const each of node.querySelectorAll("[data-mark]")) each.setAttribute("aria-pressed", String(each.dataset.mark === `${hit.item_id} ${mark}`));
  };
  card.update = (now, place, { named, isDoubtful = false }) => {
    const wanted = [now, place, named, isDoubtful];
    if (wanted.every((each, index) => each === card.shown[index])) return card;
    card.shown = wanted;
    article.setAttribute("aria-label", `${place}. ${title(now)}, ${nameOf(now.medium)}`);
    number.textContent = place;
    number.title = t("rank {rank} among the hits of all media", { rank: now.rank });
    replace("score", score(now, isDoubtful));
    replace("matched", matchOf(now));
    why.update(now, named);
    replace("unlikely", now.unlikely ? element("p", { class: "reason", text: t("unlikely: {reason}", { reason: now.unlikely }) }) : null);
    card.showMark();
    return card;
  };
  return card.update(hit, rank, context);
}

/** An item outside of a search, beside the map. */
export function itemCard(item, { actions }) {
  return element(
    "article",
    { class: `card ${item.medium}`, "data-item": item.item_id },
    element("header", {}, icon(item.medium), element("h3", {}, nameNodes(item.class_name, item.scientific_name))),
    element("div", { class: "content" }, content(item)),
    element("footer", {}, factsOf(item, actions), element("div", { class: "actions" }, button("more", { text: t("More like this"), class: "plain framed", onclick: () => actions.moreLike(item.item_id) }))),
  );
}
