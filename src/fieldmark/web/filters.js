// Filters: media, species, sets, licenses, groups, records, and whether each moment counts as a hit.

import { getClasses, getGallery } from "./api.js";
import { button, byId, displayName, element, formatNumber, icon, MEDIA, namesOf } from "./dom.js";
import { recordMenu } from "./records.js";
import { hasFilters, withoutFilters } from "./state.js";
import { t } from "./texts.js";

const SEARCHED_FROM = 9;

/** Shows the filters of a state; `onChange` receives the change. */
export async function showFilters(state, onChange) {
  const bar = byId("filters");
  // An open menu stays open and keeps the focus.
  const open = bar.querySelector("details[open]")?.dataset.name;
  const focused = bar.contains(document.activeElement) ? document.activeElement.dataset.choice : null;
  const [gallery, classes] = await Promise.all([getGallery(), getClasses()]);
  const menus = [
    menu("Species", classes.map((each) => [each.class_name, displayName(each.class_name), each.item_count]), state.classNames, (classNames) => onChange({ classNames })),
    menu("Set", counted(gallery.set_counts), state.setNames, (setNames) => onChange({ setNames })),
    menu("License", counted(joinForms(gallery.license_counts, gallery.license_forms)), state.licenses, (licenses) => onChange({ licenses })),
  ];
  const chosenCount = countFilters(state);
  const toggleText = chosenCount > 0 ? t("Filters: {number}", { number: chosenCount }) : t("Filters");
  const unfold = button("filter", { text: toggleText, class: "plain framed filters-toggle", "aria-expanded": String(bar.classList.contains("open")) });
  unfold.addEventListener("click", () => unfold.setAttribute("aria-expanded", String(bar.classList.toggle("open"))));
  bar.replaceChildren(
    unfold,
    mediaChoice(state.media, gallery.counts, (media) => onChange({ media })),
    ...menus.filter(Boolean),
    recordMenu(state.facts ?? {}, (facts) => onChange({ facts })),
    ...state.groups.map((group) => button("wrong", { text: t("group {name}", { name: group }), class: "plain framed chosen", onclick: () => onChange({ groups: state.groups.filter((each) => each !== group) }) })),
    ...(state.area ? [button("wrong", { text: t("area of the map"), class: "plain framed chosen", onclick: () => onChange({ area: "" }) })] : []),
    toggle("Every moment", state.bySegment, t("List a recording once for each matching moment"), (bySegment) => onChange({ bySegment })),
    ...(hasFilters(state) ? [button("wrong", { text: t("Clear"), class: "plain clear", onclick: () => onChange(withoutFilters({})) })] : []),
  );
  if (open) bar.querySelector(`details[data-name="${open}"]`)?.setAttribute("open", "");
  if (focused) [...bar.querySelectorAll("[data-choice]")].find((each) => each.dataset.choice === focused)?.focus();
}

const countFilters = (state) => ["media", "classNames", "setNames", "licenses", "groups"].reduce((sum, name) => sum + state[name].length, 0) + Object.keys(state.facts ?? {}).length + Number(state.bySegment) + Number(state.area !== "");

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
      icon(medium), element("span", { text: namesOf(medium) })));
  return element("fieldset", { class: "choices" }, element("legend", { class: "unseen", text: t("Media of the hits") }), boxes);
}

function toggle(text, isOn, title, onChange) {
  return element("label", { class: "choice", title }, element("input", { type: "checkbox", checked: isOn, "data-choice": text, onchange: (event) => onChange(event.target.checked) }), element("span", { text: t(text) }));
}

/** A menu of checkboxes; null if there is nothing to choose. */
function menu(name, values, chosen, onChange) {
  if (values.length < 2 && chosen.length === 0) return null;
  const rows = values.map(([value, text, number]) =>
    element("label", { class: "row", title: text },
      element("input", { type: "checkbox", checked: chosen.includes(value), "data-choice": `${name} ${value}`, onchange: (event) => onChange(changed(chosen, value, event.target.checked)) }),
      element("span", { text }), element("span", { class: "faint number", text: formatNumber(number) })));
  const narrow = (event) => {
    const wanted = event.target.value.toLowerCase();
    rows.forEach((row) => (row.hidden = !row.textContent.toLowerCase().includes(wanted)));
  };
  const finder = values.length >= SEARCHED_FROM ? element("input", { type: "search", placeholder: t("Find"), "aria-label": t("Find in {name}", { name: t(name) }), oninput: narrow }) : null;
  const title = chosen.length === 0 ? t(name) : chosen.length === 1 ? displayName(chosen[0]) : `${t(name)}: ${chosen.length}`;
  return element(
    "details",
    { class: "menu", "data-name": name },
    element("summary", { class: `plain framed ${chosen.length ? "chosen" : ""}`, "aria-label": `${t(name)}${chosen.length ? `: ${chosen.map(displayName).join(", ")}` : ""}` }, element("span", { text: title }), icon("down")),
    element("div", { class: "menu-list", role: "group", "aria-label": t(name) }, finder, rows),
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
