// The page: one state, stored in the URL; each change of it is a search or another view.

import { forget, getClasses, getLabels, search, setTokenAsker } from "./api.js";
import { collectionView, describeHolding } from "./collection.js";
import { compareView } from "./compare.js";
import { announce, byId, count, element, errorPanel, learnNames, openDialog, startToasts, toast } from "./dom.js";
import { closeMenusElsewhere, showFilters } from "./filters.js";
import { mapView } from "./map.js";
import { Marks } from "./marks.js";
import { keepPlaying, returnHome } from "./player.js";
import { Composer } from "./query.js";
import { neededView, nothingFound, rest, Results, unrest, waitingView } from "./results.js";
import { Selection } from "./selection.js";
import { Session } from "./session.js";
import { asksSame, FIRST_K, hasConditions, hasFilters, LARGEST_K, MOST_COMPARED, readState, toRequest, withoutFilters, writeState } from "./state.js";
import { learnSubject } from "./subject.js";
import { chooseLanguage, LANGUAGES, locale, t, translatePage } from "./texts.js";
import { welcomeView } from "./welcome.js";

const WAIT_MILLISECONDS = 150;

const session = new Session();
let state = { ...readState(location.search), fileKeys: session.remembered.files.map((each) => each.key) };
let running = null;
let isFirst = true;

const main = byId("main");
const describeQuery = () => [state.text, ...state.itemIds.map((itemId) => t("like {name}", { name: itemId })), ...heldFiles().map((each) => each.name)].filter(Boolean).join(" + ").slice(0, 200);
const afterLabels = () => {
  session.forgetViews({ isCurrentKept: true });
  getLabels().then((labels) => (labelByItem = labels));
  show({ isQuiet: true });
};
const marks = new Marks({ onChange: () => (session.current.view?.showMarks?.(), show({ isQuiet: true })), onLabels: afterLabels, getBasis: describeQuery });
const selection = new Selection({ onLabels: afterLabels, getBasis: describeQuery });
const composer = new Composer(session.files, ({ text, itemIds, fileKeys }) => go({ view: "search", text, itemIds, fileKeys, k: FIRST_K }));
let labelByItem = new Map();

const learnClasses = () => getClasses().then(learnNames, () => {});
const heldFiles = () => state.fileKeys.map((key) => session.files.get(key)).filter(Boolean);
const missingFiles = () => session.current.files.filter((each) => state.fileKeys.includes(each.key) && !session.files.get(each.key));

const actions = {
  compare: (names) => go({ view: "compare", compared: names.slice(0, MOST_COMPARED) }),
  moreLike: (itemId) => go({ ...withoutFilters(state), view: "search", text: "", itemIds: [itemId], fileKeys: [], k: FIRST_K }),
  searchClass: (className) => go({ view: "search", text: className.replaceAll("_", " "), itemIds: [], fileKeys: [], k: FIRST_K }),
  searchText: (text) => go({ view: "search", text, itemIds: [], fileKeys: [], k: FIRST_K }),
  onlyGroup: (group) => go({ view: "search", groups: [group] }),
  onlyArea: (area) => go({ view: "search", area }),
  showMore: () => go({ k: Math.min(LARGEST_K, state.k * 2) }, { isQuiet: true, isReplaced: true }),
  change: (change) => go(change, { isQuiet: true, isReplaced: true, isSameAnswer: true }),
  placeMap: (place) => {
    state.place = place;
    session.replace(writeState(state), state);
  },
  labelOf: (itemId) => labelByItem.get(itemId) ?? null,
  copyLink,
  composer,
  refresh: () => (session.forgetViews(), learnClasses().then(() => show())),
};

/** Changes the state, the URL and the view: a new entry of the history, unless it only shows the same otherwise. */
function go(change, { isReplaced = false, ...options } = {}) {
  const before = state;
  state = { ...state, ...change };
  const isOtherView = state.view !== before.view;
  const isSame = asksSame(state, before);
  const url = writeState(state);
  if (url === (location.search || "?") && isSame) return show(options);
  const { view, marks: marked, selected } = session.current;
  if (isReplaced) {
    session.replace(url, state);
    return show(options);
  }
  session.push(url, state);
  // Another way to see the same question keeps its marks, its selection and its cards.
  if (isSame) Object.assign(session.current, { view, marks: marked, selected });
  marks.take(session.current.marks);
  selection.take(session.current.selected);
  return show({ isOtherView, isFresh: !isSame, ...options });
}

/**
 * Shows the state. A quiet change keeps the old view until the new one is ready, and leaves the focus alone;
 * a fresh one begins at the top.
 */
async function show({ isQuiet = false, isOtherView = false, isFresh = false, isSameAnswer = false } = {}) {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const entry = session.current;
  composer.show(state, missingFiles());
  showChrome();
  main.setAttribute("aria-busy", "true");
  const wait = () => isQuiet || signal.aborted || showView({ node: waitingView() });
  const timer = setTimeout(wait, WAIT_MILLISECONDS);
  let view;
  try {
    view = await makeView(entry, signal, { isSameAnswer });
  } catch (error) {
    if (error.name === "AbortError") return;
    const isUnknownFilter = error.kind === "unknown_name" && hasFilters(state);
    view = { node: isUnknownFilter ? nothingFound({ isFiltered: true, reason: error.message, clearFilters }) : errorPanel(error, { retry: () => show() }) };
  } finally {
    clearTimeout(timer);
  }
  if (signal.aborted) return;
  entry.view = state.view === "collection" ? null : view;
  showView(view);
  main.removeAttribute("aria-busy");
  if (isFresh || isOtherView) scrollTo({ top: 0, behavior: "instant" });
  if (isOtherView) main.focus({ preventScroll: true });
  if (isFirst && session.remembered.scroll > 0) scrollTo({ top: session.remembered.scroll, behavior: "instant" });
  isFirst = false;
}

/** Puts a view on the page; what plays in the one before goes on in the dock. */
function showView(view) {
  if (main.firstChild !== view.node || main.children.length > 1) {
    if (main.firstChild) keepPlaying(main);
    rest(main);
    const refocus = noteFocus();
    main.replaceChildren(view.node);
    returnHome();
    unrest(main);
    refocus();
  }
  selection.show();
}

/** Notes the focused control of a view that is made anew; gives a function that focuses the one in its place. */
function noteFocus() {
  const { activeElement: focused } = document;
  const label = focused?.getAttribute("aria-label");
  const same = focused?.id ? `#${CSS.escape(focused.id)}` : label ? `${focused.localName}[aria-label="${CSS.escape(label)}"]` : null;
  if (!same || focused === main || !main.contains(focused)) return () => {};
  return () => !focused.isConnected && main.querySelector(same)?.focus({ preventScroll: true });
}

function showChrome() {
  document.title = [describeQuery(), "fieldmark"].filter(Boolean).join(" · ");
  byId("asking").hidden = state.view !== "search";
  marks.showTray();
  if (state.view !== "search") byId("tray").hidden = true;
  for (const link of document.querySelectorAll("nav [data-view]")) {
    if (link.dataset.view === state.view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const isAsked = hasQuery();
  byId("filters").hidden = !isAsked && state.area === "";
  document.documentElement.classList.toggle("asked", isAsked);
  describeHolding().then((text) => (byId("holding").textContent = text), () => {});
}

const hasQuery = () => state.text !== "" || state.itemIds.length > 0 || state.fileKeys.length > 0 || hasConditions(state);
const clearFilters = () => go(withoutFilters(state));

/** The view of the state: `node`, and for results what changes them in place. */
async function makeView(entry, signal, { isSameAnswer }) {
  if (state.view === "map") return { node: await mapView(actions, state) };
  if (state.view === "compare") return { node: await compareView(state.compared, actions) };
  if (state.view === "collection") return { node: await collectionView(actions) };
  const filtersShown = showFilters(state, (change) => go(change, { isQuiet: true })).catch(() => {});
  if (!hasQuery()) return { node: await welcomeView(actions) };
  if (missingFiles().length > 0) return { node: neededView(missingFiles(), () => byId("files").click()) };
  const held = entry.view instanceof Results && main.contains(entry.view.node) ? entry.view : null;
  const answer = isSameAnswer && held ? held.answer : await search(toRequest(state, marks.toRequest()), heldFiles().map((each) => each.file), signal);
  await filtersShown; // so that nothing moves when they come
  entry.answer = answer;
  if (answer.hits.length === 0 && answer.query.is_understood && answer.absent_media.length === 0 && answer.offered.length === 0) {
    announce(t("Nothing found."));
    return { node: nothingFound({ isFiltered: hasFilters(state), clearFilters }) };
  }
  const context = { state, marks, selection, actions };
  const view = held ?? new Results(answer, context);
  if (held) held.update(answer, context);
  announce(`${view.verdict.firstChild.textContent}. ${count(answer.hits.length, "hit", "hits")}.`);
  return view;
}

/** Copies the address of what is shown. Files of a query are not in it. */
async function copyLink() {
  const said = state.fileKeys.length > 0 ? t("The link is copied. Your files are not in it.") : t("The link is copied.");
  try {
    await navigator.clipboard.writeText(location.href);
    toast(said);
  } catch {
    const field = element("input", { id: "link", readonly: true, value: location.href, "aria-label": t("Link") });
    openDialog(t("Copy the link"), field);
    field.select();
  }
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
    const close = openDialog(t("Token"), element("form", { onsubmit: submit },
      element("p", { text: t("This gallery is protected by a token. The token is kept in this tab only.") }),
      element("label", { for: "token", text: t("Token") }), field,
      element("div", { class: "dialog-actions" }, element("button", { type: "submit", class: "primary", text: t("Open") }))));
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
  if (link.classList.contains("brand")) go({ ...readState(""), view: "search" });
  else go({ view: link.dataset.view });
});

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (event.key !== "/" || isTyping || state.view !== "search") return;
  event.preventDefault();
  byId("ask-text").focus();
});

// Back and forward: what was there is there again, with its cards, its marks and its place; only what has been
// forgotten is asked for anew.
addEventListener("popstate", () => {
  if (history.state === null) return session.replace(writeState(state), state); // only a part of this page
  session.leave();
  const entry = session.go();
  state = { ...readState(location.search), fileKeys: entry.files.map((each) => each.key) };
  marks.take(entry.marks);
  selection.take(entry.selected);
  if (entry.view && missingFiles().length === 0) {
    running?.abort();
    composer.show(state, []);
    showChrome();
    main.removeAttribute("aria-busy");
    showView(entry.view);
    if (!(entry.view instanceof Results)) return session.restore();
    if (entry.view.answer !== entry.answer) entry.view.update(entry.answer, { state, marks, selection, actions });
    // The filters come back above the hits, which moves them.
    return session.restore(showFilters(state, (change) => go(change, { isQuiet: true })).catch(() => {}));
  }
  return show({ isOtherView: true }).then(() => session.restore());
});

const chooser = byId("language");
chooser.replaceChildren(...Object.entries(LANGUAGES).map(([code, name]) => element("option", { value: code, text: name, lang: code, selected: code === locale() })));
chooser.addEventListener("change", () => {
  chooseLanguage(chooser.value);
  translatePage();
  session.forgetViews();
  forget();
  show();
});

session.replace(writeState(state), state);
marks.take(session.current.marks); // so that Back finds those of the first entry too
selection.take(session.current.selected);
closeMenusElsewhere();
startToasts();
getLabels().then((labels) => (labelByItem = labels), () => {});
Promise.all([learnSubject(), learnClasses()]).then(() => (translatePage(), show()));
