// The words for what the collection is of: "species" and "song" of birds, else "class" and "sound".

import { getGallery } from "./api.js";

const BIRDS = { one: "species", many: "species", item: "bird", sound: "song" };
let words = BIRDS;

/** Takes the words of the gallery; texts that are shown before stay as they are. */
export const learnSubject = () => getGallery().then((gallery) => (words = gallery.words ?? BIRDS), () => {});

const REPLACED = [
  [/\b(other|several|different|of|two|All|all|No|no) species\b/g, (_, before) => `${before} ${words.many}`],
  [/\bSpecies\b/g, () => words.many[0].toUpperCase() + words.many.slice(1)],
  [/\bspecies\b/g, () => words.one],
  [/\b(S|s)ong\b/g, (_, first) => (first === "S" ? words.sound[0].toUpperCase() : words.sound[0]) + words.sound.slice(1)],
  [/\bbird\b/g, () => words.item],
];

/** An English text of the page, written for birds, in the words of this collection. */
export function inWords(text) {
  if (words.one === BIRDS.one && words.sound === BIRDS.sound && words.item === BIRDS.item) return text;
  return REPLACED.reduce((changed, [pattern, replace]) => changed.replace(pattern, replace), text);
}
