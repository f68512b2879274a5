// Species side by side, up to four: whole photos that are zoomed together, songs in turn, texts, and what differs in them.

import { getClasses, getText, listItems } from "./api.js";
import { content, picture } from "./card.js";
import { button, count, displayName, element, errorPanel, formatName, icon, nameNodes, nameOf, namesOf } from "./dom.js";
import { playerIn, silence } from "./player.js";
import { MOST_COMPARED } from "./state.js";
import { t } from "./texts.js";
import { findWords } from "./words.js";
import { ZoomTogether } from "./zoom.js";

const SHOWN_MEDIA = ["image", "audio", "video", "text"];
const LISTED = 24;
const READ_TEXTS = 12;

/** The view of a comparison. `actions.compare` changes the species. */
export async function compareView(wanted, actions) {
  const classes = await getClasses();
  if (classes.length === 0) return errorPanel({ title: "No species yet", message: t("The items of this gallery have no class names, so there is nothing to compare. Mark hits as right and save them as a class first.") });
  const known = classes.map((each) => each.class_name);
  const names = wanted.map((name) => (known.includes(name) ? name : null));
  while (names.length > 2 && names.at(-1) === null) names.pop();
  while (names.length < 2) names.push(null);
  const chosen = names.filter(Boolean);
  const change = (index, name) => actions.compare(names.map((each, position) => (position === index ? name : each)));
  const view = element(
    "div",
    { class: "compare" },
    element("h1", { text: t("Side by side") }),
    element("div", { class: "pair-choice" },
      names.map((name, index) => chooser(index, known, name, { onChoose: (now) => change(index, now), onRemove: names.length > 2 ? () => actions.compare(names.filter((_, position) => position !== index)) : null })),
      names.length < MOST_COMPARED && chosen.length === names.length ? button("plus", { text: t("Add a species"), class: "plain framed", onclick: () => view.querySelector(".pair-choice").insertBefore(chooser(names.length, known, null, { onChoose: (now) => actions.compare([...names, now]) }), view.querySelector(".pair-choice > button")) }) : null,
      button("compare", { label: t("Swap the species"), class: "plain round", onclick: () => actions.compare([...names].reverse()) })),
  );
  if (chosen.length >= 2) view.append(...SHOWN_MEDIA.map((medium) => shelf(medium, chosen, classes, actions)).filter(Boolean));
  else view.append(element("p", { class: "panel", text: t("Choose two species, or click the look-alike that is named on a hit.") }));
  return view;
}

const ORDINALS = ["First species", "Second species", "Third species", "Fourth species"];

function chooser(index, names, chosen, { onChoose, onRemove = null }) {
  const id = ORDINALS[index].toLowerCase().replace(" ", "-");
  return element("div", { class: "chooser" },
    element("label", { for: id, text: t(ORDINALS[index]) }),
    element("div", { class: "chooser-row" },
      element("select", { id, onchange: (event) => onChoose(event.target.value) },
        element("option", { value: "", text: t("Choose"), disabled: true, selected: chosen === null }),
        names.map((name) => element("option", { value: name, text: displayName(name), selected: name === chosen }))),
      onRemove && button("wrong", { label: t("Remove {name}", { name: displayName(chosen) }), class: "plain round", onclick: onRemove })));
}

/** One medium of all the species; null if none has any. */
function shelf(medium, names, classes, actions) {
  const held = names.map((name) => classes.find((each) => each.class_name === name)?.counts[medium] ?? 0);
  if (held.every((number) => number === 0)) return null;
  const zoom = medium === "image" ? new ZoomTogether() : null;
  const panes = names.map((name, index) => new Pane(medium, name, { held: held[index], actions, zoom }));
  const row = element("div", { class: `pair of-${names.length}` }, panes.map((each) => each.node));
  const section = element("section", { class: `group ${medium}`, "aria-labelledby": `shelf-${medium}` },
    element("h2", { id: `shelf-${medium}` }, icon(medium), namesOf(medium), ...toolsOf(medium, panes, zoom)), row);
  if (medium === "text") showWords(section, panes);
  return section;
}

function toolsOf(medium, panes, zoom) {
  if (medium === "image") return [element("span", { class: "shelf-tools", role: "group", "aria-label": t("Zoom all photos") }, zoom.makeButtons())];
  if (medium === "audio") return [element("span", { class: "shelf-tools" }, turnButton(panes), spectrumButtons(panes))];
  return [];
}

/** Plays the song of each species, one after the other; again stops. */
function turnButton(panes) {
  let running = null; // the round that is on
  const made = button("play", { text: t("One after the other"), class: "plain framed" });
  made.addEventListener("click", async () => {
    if (running) {
      running = null;
      return silence();
    }
    const round = (running = {});
    made.setAttribute("aria-pressed", "true");
    for (const pane of panes) {
      await pane.ready; // a song that is still on its way has its turn too
      if (running !== round || !made.isConnected) break;
      pane.node.classList.add("heard");
      await pane.player?.playThrough().catch(() => {});
      pane.node.classList.remove("heard");
    }
    if (running && running !== round) return undefined; // a later round goes on
    running = null;
    made.setAttribute("aria-pressed", "false");
    return undefined;
  });
  return made;
}

function spectrumButtons(panes) {
  const zoom = (factor) => panes.forEach((pane) => pane.player?.strip?.zoom(factor));
  return element("span", { role: "group", "aria-label": t("Zoom all spectrograms") },
    button("minus", { label: t("Zoom all spectrograms out"), class: "plain round", onclick: () => zoom(2) }),
    button("plus", { label: t("Zoom all spectrograms in"), class: "plain round", onclick: () => zoom(0.5) }));
}

/** One medium of one species, one item at a time. */
class Pane {
  constructor(medium, className, { held, actions, zoom }) {
    Object.assign(this, { medium, className, actions, zoom, items: [], shown: 0 });
    this.stage = element("div", { class: "pane-stage" });
    this.number = element("span", { class: "faint number", "aria-live": "polite" });
    this.node = element("div", { class: "pane", role: "group", "aria-label": `${displayName(className)}, ${namesOf(medium)}` }, element("header", {}, element("h3", {}, nameNodes(className)), held > 0 ? this.number : null, held > 0 ? this.makeButtons() : null));
    if (held === 0) {
      this.node.append(element("p", { class: "faint", text: t("The collection has nothing of this species here.") }));
      this.ready = Promise.resolve();
      return;
    }
    this.node.append(this.stage);
    this.ready = listItems({ media: medium, class_names: className, limit: LISTED }).then(
      (found) => ((this.items = found), this.show(0)),
      (error) => this.stage.replaceChildren(errorPanel(error)),
    );
  }

  get player() {
    return playerIn(this.stage);
  }

  makeButtons() {
    const name = { medium: nameOf(this.medium), name: displayName(this.className) };
    return element("span", { class: "pane-buttons" },
      button("left", { label: t("Previous {medium} of {name}", name), class: "plain round", onclick: () => this.show(-1) }),
      button("after", { label: t("Next {medium} of {name}", name), class: "plain round", onclick: () => this.show(1) }),
      button("more", { label: t("More like this {medium} of {name}", name), class: "plain round", onclick: () => this.actions.moreLike(this.items[this.shown].item_id) }));
  }

  show(step) {
    this.player?.media.pause(); // its own: another pane, or another shelf that comes later, stops nobody
    this.shown = (this.shown + step + this.items.length) % this.items.length;
    const item = this.items[this.shown];
    this.number.textContent = t("{done} of {total}", { done: this.shown + 1, total: this.items.length });
    const shown = this.medium === "image" ? this.zoom.add(picture(item, { pixels: 1024, isWhole: true })) : content(item, { pixels: 800, isWhole: true });
    this.stage.replaceChildren(shown, element("p", { class: "faint origin", dir: "auto", text: [item.item_id, item.license].filter(Boolean).join(" · ") }));
  }
}

/** Words that the texts of one species use and those of the others do not: the marks that differ. */
async function showWords(section, panes) {
  await Promise.all(panes.map((pane) => pane.ready));
  const texts = await Promise.all(panes.map((pane) => Promise.all(pane.items.slice(0, READ_TEXTS).map((item) => item.text ?? getText(item.media_url).catch(() => "")))));
  const found = findWords(texts, panes.map((pane) => formatName(pane.className)));
  if (found.every((words) => words.length === 0)) return;
  section.querySelector(".pair").before(element("div", { class: "differing" },
    element("h3", { text: t("Said of one and not of the other") }),
    element("p", { class: "faint", text: t("Words in the texts of each species that are rare in those of the others, from {texts}.", { texts: count(texts.flat().length, "text", "texts") }) }),
    element("dl", {}, panes.flatMap((pane, index) => [
      element("dt", {}, nameNodes(pane.className)),
      element("dd", { dir: "auto" }, found[index].length > 0 ? found[index].map((word) => element("span", { class: "word", text: word })) : t("nothing of its own"))]))));
}
