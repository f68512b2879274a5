// Two look-alikes side by side: their photos, their spectrograms, their texts.

import { getClasses, listItems } from "./api.js";
import { content } from "./card.js";
import { button, element, errorPanel, icon, MEDIUM_NAMES, formatName } from "./dom.js";
import { silence } from "./player.js";
import { inWords } from "./subject.js";

const SHOWN_MEDIA = ["image", "audio", "video", "text"];
const LISTED = 24;

/** The view of a comparison. `actions.compare` changes the pair. */
export async function compareView([first, second], actions) {
  const classes = await getClasses();
  if (classes.length === 0) return errorPanel({ title: inWords("No species yet"), message: "The items of this gallery have no class names, so there is nothing to compare. Mark hits as right and save them as a class first." });
  const names = classes.map((each) => each.class_name);
  const pair = [first, second].map((name) => (names.includes(name) ? name : null));
  const view = element(
    "div",
    { class: "compare" },
    element("h1", { text: "Side by side" }),
    element("div", { class: "pair-choice" },
      chooser(inWords("First species"), names, pair[0], (name) => actions.compare(name, pair[1])),
      button("compare", { label: inWords("Swap the species"), class: "plain round", onclick: () => actions.compare(pair[1], pair[0]) }),
      chooser(inWords("Second species"), names, pair[1], (name) => actions.compare(pair[0], name))),
  );
  if (pair.every(Boolean)) view.append(...SHOWN_MEDIA.map((medium) => shelf(medium, pair, classes, actions)).filter(Boolean));
  else view.append(element("p", { class: "panel", text: inWords("Choose two species, or click the look-alike that is named on a hit.") }));
  return view;
}

function chooser(label, names, chosen, onChoose) {
  const id = label.toLowerCase().replace(" ", "-");
  return element("div", { class: "chooser" },
    element("label", { for: id, text: label }),
    element("select", { id, onchange: (event) => onChoose(event.target.value) },
      element("option", { value: "", text: "Choose", disabled: true, selected: chosen === null }),
      names.map((name) => element("option", { value: name, text: formatName(name), selected: name === chosen }))));
}

/** One medium of both classes; null if neither has any. */
function shelf(medium, pair, classes, actions) {
  const held = pair.map((name) => classes.find((each) => each.class_name === name)?.counts[medium] ?? 0);
  if (held.every((number) => number === 0)) return null;
  return element("section", { class: `group ${medium}`, "aria-labelledby": `shelf-${medium}` },
    element("h2", { id: `shelf-${medium}` }, icon(medium), MEDIUM_NAMES[medium][1]),
    element("div", { class: "pair" }, pair.map((name, index) => pane(medium, name, held[index], actions))));
}

/** One medium of one class, one item at a time. */
function pane(medium, className, held, actions) {
  const stage = element("div", { class: "pane-stage" });
  const number = element("span", { class: "faint number", "aria-live": "polite" });
  const node = element("div", { class: "pane", role: "group", "aria-label": `${formatName(className)}, ${MEDIUM_NAMES[medium][1]}` });
  if (held === 0) {
    node.append(element("h3", { text: formatName(className) }), element("p", { class: "faint", text: `The collection has no ${MEDIUM_NAMES[medium][0]} of this species.` }));
    return node;
  }
  let items = [];
  let shown = 0;
  const show = (step) => {
    silence();
    shown = (shown + step + items.length) % items.length;
    number.textContent = `${shown + 1} of ${items.length}`;
    stage.replaceChildren(content(items[shown], 800), element("p", { class: "faint origin", text: [items[shown].item_id, items[shown].license].filter(Boolean).join(" · ") }));
  };
  node.append(
    element("header", {}, element("h3", { text: formatName(className) }), number,
      button("down", { label: `Previous ${MEDIUM_NAMES[medium][0]} of ${formatName(className)}`, class: "plain round turn-left", onclick: () => show(-1) }),
      button("down", { label: `Next ${MEDIUM_NAMES[medium][0]} of ${formatName(className)}`, class: "plain round turn-right", onclick: () => show(1) }),
      button("more", { label: `More like this ${MEDIUM_NAMES[medium][0]} of ${formatName(className)}`, class: "plain round", onclick: () => actions.moreLike(items[shown].item_id) })),
    stage,
  );
  listItems({ media: medium, class_names: className, limit: LISTED }).then(
    (found) => ((items = found), show(0)),
    (error) => stage.replaceChildren(errorPanel(error)),
  );
  return node;
}
