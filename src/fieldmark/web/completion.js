// Names that complete what is typed in the query: a list under the field, worked by arrows, Enter, Escape or pointer.

import { offerNames } from "./api.js";
import { announce, count, displayName, element, formatName, formatNumber } from "./dom.js";
import { t } from "./texts.js";

const WAIT_MILLISECONDS = 120;
const MOST_WORDS = 4;
const SHOWN = 6;

/** Offers names while somebody types into `input`; `onChoose` gets the name that is chosen. */
export class Completion {
  constructor(input, onChoose) {
    this.input = input;
    this.onChoose = onChoose;
    this.names = [];
    this.active = -1;
    this.timer = 0;
    this.asked = 0;
    this.list = element("ul", { id: "names", class: "names", role: "listbox", "aria-label": t("Names in this collection"), hidden: true });
    input.closest(".ask-box").append(this.list);
    input.setAttribute("aria-controls", "names");
    input.setAttribute("aria-autocomplete", "list");
    input.addEventListener("input", () => this.wait());
    input.addEventListener("keydown", (event) => this.press(event));
    input.addEventListener("blur", () => this.close());
    input.form.addEventListener("submit", () => this.close());
  }

  wait() {
    clearTimeout(this.timer);
    const text = this.input.value.trim();
    if (text.length < 2 || text.split(/\s+/).length > MOST_WORDS) return this.close();
    this.timer = setTimeout(() => this.ask(text), WAIT_MILLISECONDS);
    return undefined;
  }

  async ask(text) {
    const asked = ++this.asked;
    const names = await offerNames(text, SHOWN).catch(() => []); // a server that is busy completes nothing
    if (asked !== this.asked || document.activeElement !== this.input) return;
    this.names = names;
    this.active = -1;
    this.show();
    if (names.length > 0) announce(t("{names} offered. Use the arrow keys.", { names: count(names.length, "name", "names") }));
  }

  show() {
    this.list.replaceChildren(...this.names.map((each, index) => this.option(each, index)));
    this.list.hidden = this.names.length === 0;
    if (this.active >= 0) this.input.setAttribute("aria-activedescendant", `name-${this.active}`);
    else this.input.removeAttribute("aria-activedescendant");
  }

  option(each, index) {
    const other = formatName(each.matched) === formatName(each.name) ? null : element("span", { class: "faint", text: formatName(each.matched) });
    return element(
      "li",
      { id: `name-${index}`, role: "option", "aria-selected": String(index === this.active), onpointerdown: (event) => (event.preventDefault(), this.choose(index)) },
      element("span", { dir: "auto", text: displayName(each.name) }), other, element("span", { class: "faint number", text: formatNumber(each.item_count) }),
    );
  }

  press(event) {
    if (this.list.hidden) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      const places = this.names.length + 1;
      this.active = ((this.active + 1 + step + places) % places) - 1;
      this.show();
    } else if (event.key === "Enter" && this.active >= 0) {
      event.preventDefault();
      this.choose(this.active);
    } else if (event.key === "Escape") {
      event.preventDefault();
      this.close();
    }
  }

  choose(index) {
    this.input.value = displayName(this.names[index].name);
    this.close();
    this.onChoose(this.input.value);
  }

  close() {
    clearTimeout(this.timer);
    this.asked += 1;
    this.names = [];
    this.active = -1;
    this.show();
  }
}
