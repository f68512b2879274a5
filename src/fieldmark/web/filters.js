// Filters: media, species, sets, licenses, groups, records, and whether each moment counts as a hit.

import { getClasses, getGallery } from "./api.js";
import { button, byId, element, icon, MEDIA, MEDIUM_NAMES, formatName } from "./dom.js";
import { recordMenu } from "./records.js";
import { hasFilters, withoutFilters } from "./state.js";
import { inWords } from "./subject.js";

const SEARCHED_FROM = 9;

/** Shows the filters of a state; `onChange` receives the change. */
export async function showFilters(state, onChange) {
  const bar = byId("filters");
  // An open menu stays open and keeps the focus.
  const open = bar.querySelector("details[open]")?.dataset.name;
  const focused = bar.contains(document.activeElement) ? document.activeElement.dataset.choice : null;
  const [gallery, classes] = await Promise.all([getGallery(), getClasses()]);
  const menus = [
    menu(inWords("Species"), classes.map((each) => [each.class_name, formatName(each.class_name), each.item_count]), state.classNames, (classNames) => onChange({ classNames })),
    menu("Set", counted(gallery.set_counts), state.setNames, (setNames) => onChange({ setNames })),
    menu("License", counted(joinForms(gallery.license_counts, gallery.license_forms)), state.licenses, (licenses) => onChange({ licenses })),
  ];
  bar.replaceChildren(
    mediaChoice(state.media, gallery.counts, (media) => onChange({ media })),
    ...menus.filter(Boolean),
    recordMenu(state.facts ?? {}, (facts) => onChange({ facts })),
    ...state.groups.map((group) => button("wrong", { text: `group ${group}`, class: "plain framed chosen", onclick: () => onChange({ groups: state.groups.filter((each) => each !== group) }) })),
    toggle("Every moment", state.bySegment, "List a recording once for each matching moment", (bySegment) => onChange({ bySegment })),
    ...(hasFilters(state) ? [button("wrong", { text: "Clear", class: "plain clear", onclick: () => onChange(withoutFilters({})) })] : []),
  );
  if (open) bar.querySelector(`details[data-name="${open}"]`)?.setAttribute("open", "");
  if (focused) [...bar.querySelectorAll("[data-choice]")].find((each) => each.dataset.choice === focused)?.focus();
}

const counted = (counts) => Object.entries(counts).filter(([name]) => name !== "").sort((one, other) => other[1] - one[1]).map(([name, number]) => [name, name, number]);

/** Counts of licenses by their normal forms: one license is spelled in many ways. */
function joinForms(counts, forms = {}) {
  const joined = {};
  for (const [name, number] of Object.entries(counts)) joined[forms[name] ?? name] = (joined[forms[name] ?? name] ?? 0) + number;
  return joined;
}

const changed = (chosen, value, isChosen) => (isChosen ? [...chosen, value] : chosen.filter((each) => each !== value));

function mediaChoice(chosen, counts, onChange) {
  const boxes = MEDIA.filter((medium) => counts[medium] > 0).map((medium) =>
    element("label", { class: `choice ${medium}` },
      element("input", { type: "checkbox", checked: chosen.includes(medium), "data-choice": medium, onchange: (event) => onChange(changed(chosen, medium, event.target.checked)) }),
      icon(medium), element("span", { text: MEDIUM_NAMES[medium][1] })));
  return element("fieldset", { class: "choices" }, element("legend", { class: "unseen", text: "Media of the hits" }), boxes);
}

function toggle(text, isOn, title, onChange) {
  return element("label", { class: "choice", title }, element("input", { type: "checkbox", checked: isOn, "data-choice": text, onchange: (event) => onChange(event.target.checked) }), element("span", { text }));
}

/** A menu of checkboxes; null if there is nothing to choose. */
function menu(name, values, chosen, onChange) {
  if (values.length < 2 && chosen.length === 0) return null;
  const rows = values.map(([value, text, number]) =>
    element("label", { class: "row", title: text },
      element("input", { type: "checkbox", checked: chosen.includes(value), "data-choice": `${name} ${value}`, onchange: (event) => onChange(changed(chosen, value, event.target.checked)) }),
      element("span", { text }), element("span", { class: "faint number", text: number.toLocaleString("en") })));
  const narrow = (event) => {
    const wanted = event.target.value.toLowerCase();
    rows.forEach((row) => (row.hidden = !row.textContent.toLowerCase().includes(wanted)));
  };
  const finder = values.length >= SEARCHED_FROM ? element("input", { type: "search", placeholder: "Find", "aria-label": `Find in ${name}`, oninput: narrow }) : null;
  const title = chosen.length === 0 ? name : chosen.length === 1 ? formatName(chosen[0]) : `${name}: ${chosen.length}`;
  return element(
    "details",
    { class: "menu", "data-name": name },
    element("summary", { class: `plain framed ${chosen.length ? "chosen" : ""}`, "aria-label": `${name}${chosen.length ? `: ${chosen.map(formatName).join(", ")}` : ""}` }, element("span", { text: title }), icon("down")),
    element("div", { class: "menu-list", role: "group", "aria-label": name }, finder, rows),
  );
}

/** Closes menus on Escape, and when the user clicks or moves elsewhere. */
export function closeMenusElsewhere() {
  const close = (menu, { isFocusKept }) => {
    menu.open = false;
    if (isFocusKept) menu.querySelector("summary").focus();
  };
  const openMenus = () => [...document.querySelectorAll("details.menu[open]")];
  document.addEventListener("keydown", (event) => event.key === "Escape" && openMenus().forEach((each) => close(each, { isFocusKept: true })));
  for (const kind of ["pointerdown", "focusin"]) {
    document.addEventListener(kind, (event) => openMenus().filter((each) => !each.contains(event.target)).forEach((each) => close(each, { isFocusKept: false })));
  }
}
