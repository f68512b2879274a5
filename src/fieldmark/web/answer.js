// What an answer says above its hits: the likeliest classes, what each query shows alone, other names, what is not here.

import { displayName, element, nameOf, namesWithin, percent } from "./dom.js";
import { t } from "./texts.js";

/** A button that does something with a class; its name is shown. */
const nameButton = (name, onclick) => element("button", { type: "button", class: "linkish", dir: "auto", text: displayName(name), onclick });

/** The likeliest classes with their probabilities; the first one's look-alike can be compared with it. */
function ranking(likeliest, actions) {
  const [first, second] = likeliest;
  const rows = likeliest.map((each) => {
    const bar = element("span", { class: "bar", "aria-hidden": "true" }, element("i"));
    bar.firstChild.style.width = `${100 * each.probability}%`;
    return element("li", {}, nameButton(each.name, () => actions.searchClass(each.name)), bar, element("span", { class: "number", text: percent(each.probability) }));
  });
  const compare = second ? element("p", { class: "faint" }, `${t("Look-alikes:")} `, element("button", { type: "button", class: "linkish", text: t("compare {one} with {other}", { one: displayName(first.name), other: displayName(second.name) }), onclick: () => actions.compare([first.name, second.name]) })) : null;
  // On a phone the list is folded, so that the first hit stands above the fold.
  const isOpen = matchMedia("(min-width: 640px)").matches;
  return element("details", { class: "likeliest", open: isOpen }, element("summary", { text: t("Most likely species") }), element("ol", { "aria-label": t("Most likely species") }, rows), compare);
}

function contradiction(parts, actions) {
  return element(
    "div",
    { class: "parts" },
    parts.map((part, index) => element("section", { "aria-label": t("Query {number}", { number: index + 1 }) }, element("h3", { text: t("Your {medium} alone", { medium: nameOf(part.medium) }) }), ranking(part.likeliest, actions))),
  );
}

const listed = (names, join = ` ${t("or")} `) => names.map(displayName).join(join);

/** The verdict where it is another than whether the collection holds one class; null where it is not. */
export function specialVerdict(answer) {
  const { query } = answer;
  const made = (kind, title, text) => element("div", { class: `verdict ${kind}` }, element("h2", { text: title }), element("p", { text }));
  if (!query.is_understood) return made("unlikely", t("These words are not understood"), t("Nothing that reads texts here knows most of them. Check the spelling, give a name, or describe what is seen or heard."));
  if (query.is_listing) return made("", t("Items that meet your conditions"), t("In no order of likeness: there is nothing to compare them with."));
  if (!query.is_on_topic) return made("unlikely", t("Probably not here"), t("Your words speak of nothing that the texts and names of this collection do. Below are the closest items."));
  const isBorne = answer.hits.some((hit) => hit.matched || (hit.probability ?? 0) >= 0.5);
  if (query.class_name && !answer.collection && answer.hits.length > 0 && !isBorne) return made("", t("Nothing here is surely {name}", { name: displayName(query.class_name) }), t("Below are the closest items."));
  if (answer.parts.length > 0) return made("", t("Your queries show different species"), t("Below are the hits of each alone."));
  if (query.names.length > 1) {
    const names = listed(query.names.map((each) => each.class_name ?? each.name), ", ");
    return made("", names, query.name_use === "part" ? t("These names have what you typed in common.") : t("Hits are of any of these."));
  }
  return null;
}

/** What stands under the verdict: notes, corrections, other names, media without the class, the likeliest classes. */
export function answerDetails(answer, actions) {
  const { query } = answer;
  const read = query.names.map((each) => each.class_name ?? each.name);
  const others = answer.offered.filter((each) => !read.includes(each.name));
  const absent = answer.absent_media.map(namesWithin).join(", ");
  const lines = [
    ...query.notes.map((text) => `${text}.`),
    query.name_use === "corrected" ? t("Your words were read as {names}.", { names: listed(read) }) : null,
    absent ? t("No {media} of {names} here.", { names: listed(read), media: absent }) : null,
  ].filter(Boolean);
  const offered = others.length > 0 ? element("p", {}, `${t("Did you mean")} `, others.flatMap((each, index) => [index ? ` ${t("or")} ` : null, nameButton(each.name, () => actions.searchClass(each.name))]), "?") : null;
  const has = lines.length > 0 || offered || answer.parts.length > 0 || answer.likeliest.length > 0;
  return element(
    "div",
    { class: "answer", hidden: !has },
    lines.map((text) => element("p", { text })),
    offered,
    answer.parts.length > 0 ? contradiction(answer.parts, actions) : null,
    answer.likeliest.length > 0 ? ranking(answer.likeliest, actions) : null,
  );
}
