// Labels: classes that a person gives to items, one or many at once, with who, when and from what, and a way back.

import { forget, getClasses, saveClass, undoClass } from "./api.js";
import { count, displayName, element, formatName, openDialog, toast } from "./dom.js";
import { t } from "./texts.js";

const MOST_AT_ONCE = 500;
const PERSON_KEY = "fieldmark-person";

/** The class of most hits, as a suggestion for the name. */
export function likelyName(hits) {
  const counts = new Map();
  for (const { class_name: name } of hits) if (name) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].sort((one, other) => other[1] - one[1])[0]?.[0] ?? "";
}

/** Asks for a class and gives it to hits; `basis` says what they were chosen from, `onChange` is called after each change. */
export async function askForLabel(title, hits, { basis, onChange }) {
  const classes = await getClasses().catch(() => []);
  const name = element("input", { id: "class-name", value: likelyName(hits), required: true, maxlength: 256, autocomplete: "off", list: "class-names", dir: "auto" });
  const person = element("input", { id: "person", value: localStorage.getItem(PERSON_KEY) ?? "", maxlength: 256, autocomplete: "name", dir: "auto" });
  const problem = element("p", { class: "problem", role: "alert" });
  const save = async (event) => {
    event.preventDefault();
    const [given, savedBy] = [name.value.trim(), person.value.trim()];
    const itemIds = [...new Set(hits.map((hit) => hit.item_id))];
    const numbers = [];
    try {
      for (let first = 0; first < itemIds.length; first += MOST_AT_ONCE) {
        numbers.push((await saveClass(given, itemIds.slice(first, first + MOST_AT_ONCE), { savedBy: savedBy || null, basis })).number);
      }
    } catch (error) {
      problem.textContent = error.message;
      if (numbers.length === 0) return;
    }
    localStorage.setItem(PERSON_KEY, savedBy);
    forget();
    close();
    toast(t("{items} now {name}.", { items: count(itemIds.length, "item is", "items are"), name: displayName(given) }), { undo: () => undoLabels(numbers, onChange) });
    onChange();
  };
  const close = openDialog(
    t(title),
    element("form", { onsubmit: save },
      element("p", { text: t("{hits} this name in the gallery. The files do not change.", { hits: count(hits.length, "hit gets", "hits get") }) }),
      element("label", { for: "class-name", text: t("Name of the class") }), name,
      element("datalist", { id: "class-names" }, classes.map((each) => element("option", { value: each.class_name, text: formatName(each.class_name) }))),
      element("label", { for: "person", text: t("Your name, for the record") }), person,
      basis ? element("p", { class: "faint", dir: "auto", text: t("Noted as: {basis}", { basis }) }) : null,
      problem,
      element("div", { class: "dialog-actions" }, element("button", { type: "submit", class: "primary", text: t("Save") }))),
  );
  name.select();
}

/** Gives items their former classes again, the last label first. */
export async function undoLabels(numbers, onChange) {
  try {
    for (const number of [...numbers].reverse()) await undoClass(number);
    toast(t("The former classes are back."));
  } catch (error) {
    toast(error.message);
  }
  forget();
  onChange();
}
