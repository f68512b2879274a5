// The page: one state, stored in the URL; each change of it is a search or another view.

import { search, setTokenAsker } from "./api.js";
import { collectionView, describeHolding } from "./collection.js";
import { compareView } from "./compare.js";
import { announce, byId, count, element, errorPanel, openDialog } from "./dom.js";
import { closeMenusElsewhere, showFilters } from "./filters.js";
import { mapView } from "./map.js";
import { Marks, saveExport } from "./marks.js";
import { silence } from "./player.js";
import { Composer } from "./query.js";
import { nothingFound, resultsView, verdict, waitingView } from "./results.js";
import { FIRST_K, hasFilters, readState, toRequest, withoutFilters, writeState } from "./state.js";
import { learnSubject } from "./subject.js";
import { welcomeView } from "./welcome.js";

const WAIT_MILLISECONDS = 150;

let state = readState(location.search);
let running = null;

const main = byId("main");
const marks = new Marks(() => show({ isQuiet: true }));
const composer = new Composer(({ text, itemIds }) => {
  marks.clear({ isSilent: true });
  go({ view: "search", text, itemIds, k: FIRST_K });
});

const actions = {
  compare: (first, second) => go({ view: "compare", pair: [first, second] }),
  moreLike: (itemId) => {
    composer.clearFiles();
    marks.clear({ isSilent: true });
    go({ ...withoutFilters(state), view: "search", text: "", itemIds: [itemId], k: FIRST_K });
  },
  searchClass: (className) => {
    composer.clearFiles();
    marks.clear({ isSilent: true });
    go({ view: "search", text: className.replaceAll("_", " "), itemIds: [], k: FIRST_K });
  },
  onlyGroup: (group) => go({ view: "search", groups: [group] }),
  showMore: () => go({ k: Math.min(200, state.k * 2) }, { isQuiet: true }),
  exportHits: saveExport,
  refresh: () => show(),
};

/** Changes the state, the URL and the view. */
function go(change, options) {
  const isOtherView = change.view !== undefined && change.view !== state.view;
  state = { ...state, ...change };
  const url = writeState(state);
  if (url !== (location.search || "?")) history.pushState(null, "", url);
  return show({ isOtherView, ...options });
}

/** Shows the state. A quiet change keeps the old view until the new one is ready, and leaves the focus alone. */
async function show({ isQuiet = false, isOtherView = false } = {}) {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  silence();
  composer.show(state);
  showChrome();
  main.setAttribute("aria-busy", "true");
  const timer = setTimeout(() => !isQuiet && !signal.aborted && main.replaceChildren(waitingView()), WAIT_MILLISECONDS);
  let view;
  try {
    view = await currentView(signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    const isUnknownFilter = error.kind === "unknown_name" && hasFilters(state);
    const clearFilters = () => go(withoutFilters(state));
    view = isUnknownFilter ? nothingFound({ isFiltered: true, reason: error.message, clearFilters }) : errorPanel(error, { retry: () => show() });
  } finally {
    clearTimeout(timer);
  }
  if (signal.aborted) return;
  showView(view);
  main.removeAttribute("aria-busy");
  if (isOtherView) main.focus();
}

/** Shows a view; a focused mark button stays focused. */
function showView(view) {
  const held = main.contains(document.activeElement) ? document.activeElement.dataset.mark : null;
  main.replaceChildren(view);
  if (held) [...main.querySelectorAll("[data-mark]")].find((each) => each.dataset.mark === held)?.focus({ preventScroll: true });
}

function showChrome() {
  document.title = state.text ? `${state.text} · fieldmark` : "fieldmark";
  byId("asking").hidden = state.view !== "search";
  byId("tray").hidden = state.view !== "search" || marks.marked.size === 0;
  for (const link of document.querySelectorAll("nav [data-view]")) {
    if (link.dataset.view === state.view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const isAsked = hasQuery();
  byId("filters").hidden = !isAsked;
  document.body.classList.toggle("asked", isAsked);
  describeHolding().then((text) => (byId("holding").textContent = text), () => {});
  if (state.view === "search" && isAsked) showFilters(state, (change) => go(change, { isQuiet: true })).catch(() => {});
}

const hasQuery = () => state.text !== "" || state.itemIds.length > 0 || composer.files.length > 0;

async function currentView(signal) {
  if (state.view === "map") return mapView(actions);
  if (state.view === "compare") return compareView(state.pair, actions);
  if (state.view === "collection") return collectionView(actions);
  if (!hasQuery()) return welcomeView(actions);
  const answer = await search(toRequest(state, marks.toRequest()), composer.files.map((each) => each.file), signal);
  if (answer.hits.length === 0 && answer.query.is_understood && answer.absent_media.length === 0) {
    announce("Nothing found.");
    return nothingFound({ isFiltered: hasFilters(state), clearFilters: () => go(withoutFilters(state)) });
  }
  announce(`${verdict(answer).firstChild.textContent}. ${count(answer.hits.length, "hit", "hits")}.`);
  return resultsView(answer, { state, marks, actions });
}

/** Asks for the token in the dialog of the page. */
function askForToken(error) {
  return new Promise((resolve, reject) => {
    const field = element("input", { id: "token", type: "password", required: true, autocomplete: "off" });
    const submit = (event) => {
      event.preventDefault();
      resolve(field.value.trim());
      close();
    };
    const close = openDialog("Token", element("form", { onsubmit: submit },
      element("p", { text: "This gallery is protected by a token. The token is kept in this tab only." }),
      element("label", { for: "token", text: "Token" }), field,
      element("div", { class: "dialog-actions" }, element("button", { type: "submit", class: "primary", text: "Open" }))));
    byId("dialog").addEventListener("close", () => reject(error), { once: true });
  });
}

let asking = null;

// Several requests may need the token at once: the user is asked once.
setTokenAsker((error) => (asking ??= askForToken(error).finally(() => (asking = null))));

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-view]");
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  if (link.classList.contains("brand")) {
    composer.clearFiles();
    marks.clear({ isSilent: true });
    go({ ...readState(""), view: "search" }, { isOtherView: true });
  } else go({ view: link.dataset.view }, { isOtherView: true });
});

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (event.key !== "/" || isTyping || state.view !== "search") return;
  event.preventDefault();
  byId("ask-text").focus();
});

window.addEventListener("popstate", () => {
  state = readState(location.search);
  show({ isOtherView: true });
});

closeMenusElsewhere();
learnSubject().then(() => show());
