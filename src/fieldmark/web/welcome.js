// The page before the first search: what this collection answers, what you can search with, and some of it.

import { getClasses, getGallery, listItems } from "./api.js";
import { picture } from "./card.js";
import { byId, count, element, icon, MEDIA, nameNodes, namesWithin } from "./dom.js";
import { t } from "./texts.js";

const TILES = 8;

/** Equally spaced classes that have a photo, so that the tiles show how varied the collection is. */
function someClasses(classes) {
  const pictured = classes.filter((each) => each.counts.image > 0);
  const shown = pictured.length > 0 ? pictured : classes;
  const step = Math.max(1, shown.length / TILES);
  return Array.from({ length: Math.min(TILES, shown.length) }, (_, index) => shown[Math.floor(index * step)]);
}

function tile(each, actions) {
  const face = element("span", { class: "tile-face" }, icon("search"));
  if (each.counts.image > 0) {
    listItems({ media: "image", class_names: each.class_name, limit: 1 }).then(
      ([item]) => item && face.replaceChildren(Object.assign(picture(item, { pixels: 320 }), { alt: "" })),
      () => {}, // a tile without its photo still works
    );
  }
  return element("li", {}, element("button", { type: "button", class: "tile", onclick: () => actions.searchClass(each.class_name) }, face, element("span", {}, nameNodes(each.class_name))));
}

/** An item of a collection without classes, which is searched with. */
function itemTile(item, actions) {
  const face = element("span", { class: "tile-face" }, Object.assign(picture(item, { pixels: 320 }), { alt: "" }));
  return element("li", {}, element("button", { type: "button", class: "tile", "aria-label": t("More like {name}", { name: item.name }), onclick: () => actions.moreLike(item.item_id) }, face, element("span", { dir: "auto", text: item.name })));
}

/** The tiles: classes of the collection; where it has none, some of its photos. */
async function tiles(classes, actions) {
  if (classes.length > 0) return someClasses(classes).map((each) => tile(each, actions));
  const photos = await listItems({ media: "image", limit: TILES }).catch(() => []);
  return photos.map((each) => itemTile(each, actions));
}

/** Opens the choice of files for one medium. */
function choose(medium) {
  const input = byId("files");
  const accepted = input.accept;
  input.accept = `${medium}/*`;
  input.click();
  input.accept = accepted;
}

const WAYS = [
  ["image", "A photo", "Drop it, paste it, or choose a file.", () => choose("image")],
  ["audio", "A song", "Take it with the microphone, or drop a file.", (actions) => actions.composer.record()],
  ["video", "A clip", "Every part of it counts.", () => choose("video")],
  ["text", "A few words", "“rusty cap, gray breast, trill”, or the name of a species.", () => byId("ask-text").focus()],
];

/** The view before the first search. */
export async function welcomeView(actions) {
  const [gallery, classes] = await Promise.all([getGallery(), getClasses()]);
  if (gallery.item_count === 0) {
    return element("div", { class: "panel" }, element("h1", { text: t("This collection is empty") }), element("p", { text: t("Add items with fieldmark index, then reload this page.") }));
  }
  const ways = WAYS.filter(([medium]) => gallery.media.includes(medium));
  const held = MEDIA.filter((medium) => gallery.counts[medium] > 0);
  const shown = await tiles(classes, actions);
  return element(
    "div",
    { class: "welcome" },
    element("h1", { text: t("Search with whatever you have.") }),
    element("p", { class: "lead", text: t("A photo finds the song, and a song finds the photo. You can also combine them: a photo and a song of the same bird make one query.") }),
    element("p", {}, describe(gallery, held)),
    element("ul", { class: "ways" }, ways.map(([medium, title, text, act]) => element("li", {},
      element("button", { type: "button", class: `way ${medium}`, onclick: () => act(actions) }, icon(medium), element("strong", { text: t(title) }), element("span", { text: t(text) }))))),
    shown.length > 0 ? element("h2", { text: t("From this collection") }) : null,
    element("ul", { class: "tiles" }, shown),
  );
}

/** What a collection without classes is: its encoders may name what it holds all the same. */
function unlabeled(gallery) {
  const isNamed = gallery.calibrated_pairs.some((pair) => pair.startsWith("text_to_"));
  return isNamed ? t("Nothing here has a label yet, but names are found: encoders tell what they see and hear.") : t("Nothing in this collection is named yet.");
}

/** What this collection can be asked with, what it answers with, and what it cannot do. */
function describe(gallery, held) {
  const listed = (media) => new Intl.ListFormat(document.documentElement.lang, { type: "conjunction" }).format(media.map((medium) => namesWithin(medium)));
  const lacking = MEDIA.filter((medium) => !gallery.media.includes(medium));
  return [
    gallery.class_count > 0 ? t("This collection knows {species}.", { species: count(gallery.class_count, "species", "species") }) : unlabeled(gallery),
    t("It answers with {media}.", { media: listed(held) }),
    lacking.length > 0 ? t("It cannot be asked with {media}.", { media: listed(lacking) }) : null,
  ].filter(Boolean).join(" ");
}
