// The menu of conditions on records: dates, months, place, observer, what is missing, and how hits are sorted.

import { element, icon } from "./dom.js";
import { t } from "./texts.js";

const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const LACKED = { date: "a date", coordinates: "coordinates", place: "a place", country: "a country", observer: "an observer", license: "a license", catalog_number: "a catalog number", class_name: "a species" };
const ORDERS = { date: "by date", place: "by place" };

/** The menu; `onChange` receives the facts as they are now. */
export function recordMenu(facts, onChange) {
  const change = (name) => (event) => {
    const value = event.target.type === "checkbox" ? (event.target.checked ? "yes" : "") : event.target.value.trim();
    const { [name]: _, ...others } = facts;
    onChange(value ? { ...others, [name]: value } : others);
  };
  const text = (name, label, placeholder) => row(t(label), element("input", { type: "text", value: facts[name] ?? "", placeholder: t(placeholder), "data-choice": `fact ${name}`, onchange: change(name) }));
  const select = (name, label, first, choices) =>
    row(t(label), element("select", { "data-choice": `fact ${name}`, onchange: change(name) },
      element("option", { value: "", text: t(first) }),
      choices.map(([value, shown]) => element("option", { value, text: t(shown), selected: facts[name] === value }))));
  const number = Object.keys(facts).length;
  return element(
    "details",
    { class: "menu", "data-name": "Date and place" },
    element("summary", { class: `plain framed ${number ? "chosen" : ""}`, "aria-label": number ? t("Date and place: {number} conditions", { number }) : t("Date and place") }, element("span", { text: number ? `${t("Date and place")}: ${number}` : t("Date and place") }), icon("down")),
    element("div", { class: "menu-list record", role: "group", "aria-label": t("Date and place") },
      text("from", "From", "2001 or 2001-05-04"),
      text("to", "To", "2001 or 2001-05-31"),
      select("month", "Month", "any", MONTHS.map((name, index) => [String(index + 1), name])),
      text("near", "Within", "latitude, longitude, km"),
      text("country", "Country", "US or United States"),
      text("observer", "Observer", "name"),
      select("hasNo", "Without", "nothing in particular", Object.entries(LACKED)),
      select("order", "Sorted", "by likeness", Object.entries(ORDERS)),
      element("label", { class: "row" }, element("input", { type: "checkbox", checked: Boolean(facts.byRecord), "data-choice": "fact byRecord", onchange: change("byRecord") }), element("span", { text: t("Media of one record together") }))),
  );
}

const row = (label, input) => element("label", { class: "row field" }, element("span", { text: label }), input);
