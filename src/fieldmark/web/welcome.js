// The page before the first search: what you can search with, and some of the collection.

import { getClasses, getGallery, listItems } from "./api.js";
import { picture } from "./card.js";
import { element, icon, formatName } from "./dom.js";
import { inWords } from "./subject.js";

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
      ([item]) => item && face.replaceChildren(Object.assign(picture(item, 320), { alt: "" })),
      () => {}, // a tile without its photo still works
    );
  }
  return element("li", {}, element("button", { type: "button", class: "tile", onclick: () => actions.searchClass(each.class_name) }, face, element("span", { text: formatName(each.class_name) })));
}

const WAYS = [
  ["image", "A photo", "Drop it, paste it, or choose a file."],
  ["audio", "A song", "Record it, or drop a recording."],
  ["video", "A clip", "Every part of it is searched."],
  ["text", "A few words", "“rusty cap, gray breast, trill”, or the name of a species."],
];

/** The view before the first search. */
export async function welcomeView(actions) {
  const [gallery, classes] = await Promise.all([getGallery(), getClasses()]);
  if (gallery.item_count === 0) {
    return element("div", { class: "panel" }, element("h1", { text: "This collection is empty" }), element("p", { text: "Add items with fieldmark index, then reload this page." }));
  }
  const ways = WAYS.filter(([medium]) => gallery.media.includes(medium));
  return element(
    "div",
    { class: "welcome" },
    element("h1", { text: "Search with whatever you have." }),
    element("p", { class: "lead", text: inWords("A photo finds the song, and a song finds the photo. You can also combine them: a photo and a song of the same bird make one query.") }),
    element("ul", { class: "ways" }, ways.map(([medium, title, text]) => element("li", { class: medium }, icon(medium), element("strong", { text: inWords(title) }), element("span", { text: inWords(text) })))),
    classes.length > 0 ? element("h2", { text: "From this collection" }) : null,
    element("ul", { class: "tiles" }, someClasses(classes).map((each) => tile(each, actions))),
  );
}
