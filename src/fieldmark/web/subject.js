// The words for what the collection is of: "species" and "song" of birds, else "class" and "sound".

import { getGallery } from "./api.js";

const BIRDS = { one: "species", many: "species", item: "bird", sound: "song" };
let words = BIRDS;

/** Takes the words of the gallery; texts that are shown before stay as they are. */
export const learnSubject = () => getGallery().then((gallery) => (words = gallery.words ?? BIRDS), () => {});

const isOfBirds = () => words.one === BIRDS.one && words.sound === BIRDS.sound && words.item === BIRDS.item;
const capital = (word) => word[0].toUpperCase() + word.slice(1);

const ENGLISH = [
  [/\b(other|several|different|of|two|likely|All|all|No|no) species\b/g, (_, before) => `${before} ${words.many}`],
  [/\bSpecies\b/g, () => capital(words.many)],
  [/\bspecies\b/g, () => words.one],
  [/\b(S|s)ong\b/g, (_, first) => (first === "S" ? capital(words.sound) : words.sound)],
  [/\bbird\b/g, () => words.item],
];

/** The same in German; the words that stand in have the gender of those that they replace. */
const GERMAN = [
  [/\bArten\b/g, () => "Klassen"],
  [/\bArt\b/g, () => "Klasse"],
  [/\bGesänge/g, () => "Klänge"],
  [/\bGesang/g, () => "Klang"],
  [/\bVögel/g, () => "Gegenstände"],
  [/\bVogel/g, () => "Gegenstand"],
];

/** A text of the page, written for birds, in the words of this collection; names of values in braces stay. */
export function inWords(text, language, { isMany = false } = {}) {
  if (isOfBirds()) return text;
  if (isMany && text === BIRDS.many) return words.many;
  const change = (part) => (language === "de" ? GERMAN : ENGLISH).reduce((changed, [pattern, replace]) => changed.replace(pattern, replace), part);
  return text.split(/(\{\w+\})/).map((part, index) => (index % 2 ? part : change(part))).join("");
}
