// The state of the page, as stored in the URL: a link shows another person the same search.

const LISTS = { item: "itemIds", media: "media", class: "classNames", set: "setNames", license: "licenses", group: "groups" };

export const FIRST_K = 8;

/** Reads the state from a URL. Files of a query are private and never in a link. */
export function readState(search) {
  const query = new URLSearchParams(search);
  const k = Number.parseInt(query.get("k") ?? "", 10);
  const state = {
    view: ["map", "compare", "collection"].includes(query.get("view")) ? query.get("view") : "search",
    text: query.get("q") ?? "",
    bySegment: query.get("moments") === "all",
    k: k >= 1 && k <= 200 ? k : FIRST_K,
    pair: [query.get("a"), query.get("b")],
  };
  for (const [key, name] of Object.entries(LISTS)) state[name] = query.getAll(key);
  return state;
}

/** Returns the URL of a state. */
export function writeState(state) {
  const query = new URLSearchParams();
  if (state.view !== "search") query.set("view", state.view);
  if (state.view === "compare") state.pair.forEach((name, index) => name && query.set("ab"[index], name));
  if (state.text) query.set("q", state.text);
  for (const [key, name] of Object.entries(LISTS)) for (const each of state[name]) query.append(key, each);
  if (state.bySegment) query.set("moments", "all");
  if (state.k !== FIRST_K) query.set("k", state.k);
  return `?${query}`;
}

export const hasFilters = (state) =>
  state.bySegment || ["media", "classNames", "setNames", "licenses", "groups"].some((name) => state[name].length > 0);

export const withoutFilters = (state) => ({ ...state, bySegment: false, media: [], classNames: [], setNames: [], licenses: [], groups: [] });

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
  };
}
