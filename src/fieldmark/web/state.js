// The state of the page, as stored in the URL: a link shows another person the same search.

const LISTS = { item: "itemIds", media: "media", class: "classNames", set: "setNames", license: "licenses", group: "groups" };

/** Conditions on the records of items, each a text in the URL. */
const FACTS = { from: "from", to: "to", month: "month", country: "country", observer: "observer", near: "near", none: "hasNo", sort: "order", records: "byRecord" };

const NO_CONDITIONS = ["order", "byRecord"]; // of the answer, and not of what is in it

export const hasConditions = (state) => Object.keys(state.facts ?? {}).some((name) => !NO_CONDITIONS.includes(name));

export const FIRST_K = 8;
export const LARGEST_K = 200;
export const MOST_COMPARED = 4;
const COMPARED = "abcd";

/** Reads the state from a URL. Files of a query are private and never in a link: `fileKeys` comes from the history. */
export function readState(search) {
  const query = new URLSearchParams(search);
  const k = Number.parseInt(query.get("k") ?? "", 10);
  const state = {
    view: ["map", "compare", "collection"].includes(query.get("view")) ? query.get("view") : "search",
    text: query.get("q") ?? "",
    bySegment: query.get("moments") === "all",
    k: k >= 1 && k <= LARGEST_K ? k : FIRST_K,
    compared: [...COMPARED].map((key) => query.get(key)),
    asTable: query.get("as") === "table",
    isDistinct: query.get("alike") === "once",
    area: query.get("area") ?? "",
    place: query.get("at") ?? "",
    fileKeys: [],
  };
  for (const [key, name] of Object.entries(LISTS)) state[name] = query.getAll(key);
  state.facts = {};
  for (const [key, name] of Object.entries(FACTS)) if (query.get(key)) state.facts[name] = query.get(key);
  return state;
}

/** Returns the URL of a state. */
export function writeState(state) {
  const query = new URLSearchParams();
  if (state.view !== "search") query.set("view", state.view);
  if (state.view === "compare") state.compared.forEach((name, index) => name && query.set(COMPARED[index], name));
  if (state.view === "map" && state.place) query.set("at", state.place);
  if (state.text) query.set("q", state.text);
  for (const [key, name] of Object.entries(LISTS)) for (const each of state[name]) query.append(key, each);
  for (const [key, name] of Object.entries(FACTS)) if (state.facts?.[name]) query.set(key, state.facts[name]);
  if (state.bySegment) query.set("moments", "all");
  if (state.k !== FIRST_K) query.set("k", state.k);
  if (state.area && state.view !== "map") query.set("area", state.area);
  if (state.asTable) query.set("as", "table");
  if (state.isDistinct) query.set("alike", "once");
  return `?${query}`;
}

export const hasFilters = (state) =>
  state.bySegment || state.area !== "" || Object.keys(state.facts ?? {}).length > 0 || ["media", "classNames", "setNames", "licenses", "groups"].some((name) => state[name].length > 0);

export const withoutFilters = (state) => ({ ...state, bySegment: false, area: "", facts: {}, media: [], classNames: [], setNames: [], licenses: [], groups: [] });

/** Returns the API request for a state and some marks. */
export function toRequest(state, marks) {
  return {
    queries: [...(state.text ? [{ text: state.text }] : []), ...state.itemIds.map((itemId) => ({ item_id: itemId }))],
    marks,
    k: state.k,
    per_medium: true,
    by_segment: state.bySegment,
    media: state.media,
    class_names: state.classNames,
    set_names: state.setNames,
    licenses: state.licenses,
    groups: state.groups,
    facts: toConditions(state.facts ?? {}),
    order: state.facts?.order ?? null,
    by_record: Boolean(state.facts?.byRecord),
    ...(state.area ? { area: readArea(state.area) } : {}),
  };
}

/** The corners of an area of the map, written as x,y;x,y in thousandths of its sides. */
export const readArea = (text) => text.split(";").map((corner) => corner.split(",").map((each) => Number(each) / 1000));
export const writeArea = (corners) => corners.map((corner) => corner.map((each) => Math.round(each * 1000)).join(",")).join(";");

/** Tells whether two states ask the same; filters, marks and the number of hits may differ. */
export const asksSame = (one, other) =>
  one.view === other.view && one.text === other.text && one.itemIds.join() === other.itemIds.join() && one.fileKeys.join() === other.fileKeys.join();

const listed = (text) => (text ?? "").split(/[;|]/).map((each) => each.trim()).filter(Boolean);

/** Returns conditions on records as the API takes them; what is wrong with them, the API says. */
function toConditions(facts) {
  return {
    date_from: facts.from ?? null,
    date_to: facts.to ?? null,
    months: facts.month ? [Number(facts.month)] : [],
    near: facts.near ? facts.near.split(/[,;\s]+/).filter(Boolean).map(Number).filter(Number.isFinite) : [],
    countries: listed(facts.country),
    observers: listed(facts.observer),
    has_no: listed(facts.hasNo),
  };
}
