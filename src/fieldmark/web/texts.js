// The texts of the page in all its languages: written in English where they are used, translated in one table here.

import { GERMAN } from "./german.js";
import { inWords } from "./subject.js";

const TABLES = { en: {}, de: GERMAN };
const KEY = "fieldmark-language";

/** The languages of the page, by their codes, in their own names. */
export const LANGUAGES = { en: "English", de: "Deutsch" };

let language = null;

/** The code of the language that is shown: the one that was chosen, or the first of the browser's that there is. */
export function locale() {
  if (language === null) {
    const wanted = [localStorage.getItem(KEY), ...navigator.languages.map((each) => each.split("-")[0])];
    language = wanted.find((each) => each in TABLES) ?? "en";
  }
  return language;
}

/** Chooses a language and keeps the choice for the next visit. */
export function chooseLanguage(code) {
  language = code in TABLES ? code : "en";
  localStorage.setItem(KEY, language);
}

/** A text in the language of the page and the words of the collection; `{name}` in it is replaced by the value of that name. */
export function t(text, values = {}, options = {}) {
  const found = inWords(TABLES[locale()][text] ?? text, locale(), options);
  return found.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));
}

/** Translates what stands in index.html: texts of `data-t`, and the attributes that `data-t-attributes` lists. */
export function translatePage() {
  document.documentElement.lang = locale();
  for (const node of document.querySelectorAll("[data-t]")) {
    node.dataset.t ||= node.textContent;
    node.textContent = t(node.dataset.t);
  }
  for (const node of document.querySelectorAll("[data-t-attributes]")) {
    for (const name of node.dataset.tAttributes.split(" ")) {
      const kept = `tFrom${name.replaceAll("-", "")}`;
      node.dataset[kept] ??= node.getAttribute(name);
      node.setAttribute(name, t(node.dataset[kept]));
    }
  }
}
