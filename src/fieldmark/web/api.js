// The HTTP API under /v1: one function for each request; an error response becomes an ApiError.

import { t } from "./texts.js";

const TOKEN_KEY = "fieldmark-token";

/** An error response of the server, or no response at all. */
export class ApiError extends Error {
  constructor({ kind, message, status }) {
    super(message);
    this.kind = kind;
    this.status = status;
    this.title = TITLES[status] ?? (status >= 500 ? "The server failed" : "Something went wrong");
  }
}

const TITLES = {
  0: "The server cannot be reached",
  401: "This gallery needs a token",
  404: "Not found",
  413: "This is too large",
  415: "This kind of file is not supported",
  422: "This could not be read",
  429: "The server is busy",
  503: "The server is busy",
};

let askForToken = () => Promise.reject(new Error("no way to ask for a token"));

/** Sets the function that asks the user for the token. */
export function setTokenAsker(asker) {
  askForToken = asker;
}

async function send(path, options) {
  const token = sessionStorage.getItem(TOKEN_KEY);
  const headers = { ...options.headers, ...(token ? { authorization: `Bearer ${token}` } : {}) };
  try {
    return await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError({ kind: "unreachable", status: 0, message: t("The server did not respond. Check that fieldmark serve is running, then try again.") });
  }
}

async function call(path, options = {}) {
  const answer = await send(path, options);
  if (answer.ok) return answer;
  const { kind = "unknown", message = `The server answered ${answer.status}.` } = await answer.json().catch(() => ({}));
  const error = new ApiError({ kind, message, status: answer.status });
  if (answer.status !== 401 || options.isRetry) throw error;
  await beginSession(await askForToken(error));
  return call(path, { ...options, isRetry: true });
}

/** Keeps the token for this tab. Pictures and players cannot send a header; the session cookie admits them. */
async function beginSession(token) {
  sessionStorage.setItem(TOKEN_KEY, token);
  const answer = await send("/v1/session", { method: "POST" });
  if (!answer.ok) sessionStorage.removeItem(TOKEN_KEY);
}

const get = async (path, options) => (await call(path, options)).json();
const post = (path, body, options = {}) =>
  call(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), ...options });

/** A URL with parameters; lists are repeated, nulls are left out. */
export function makeUrl(path, parameters) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) {
    for (const each of [value].flat()) if (each !== null && each !== undefined) query.append(key, each);
  }
  return query.size ? `${path}?${query}` : path;
}

/** Searches with a request and some files. */
export async function search(request, files, signal) {
  if (files.length === 0) return (await post("/v1/search", request, { signal })).json();
  const form = new FormData();
  form.append("request", JSON.stringify(request));
  for (const file of files) form.append("file", file, file.name);
  return (await call("/v1/search", { method: "POST", body: form, signal })).json();
}

export const listItems = async (parameters, signal) => (await get(makeUrl("/v1/items", parameters), { signal })).items;
export const offerNames = async (text, limit) => (await get(makeUrl("/v1/names", { text, limit }))).names;
export const getItem = (itemId) => get(`/v1/items/${encodeURIComponent(itemId)}`);
export const getWaveform = (url, parameters) => get(makeUrl(url, parameters));
export const getText = async (url) => (await call(url)).text();
export const getMap = () => get("/v1/map/columns");
export const getJobs = async () => (await get("/v1/jobs")).jobs;
export const startJob = async (source) => (await post("/v1/jobs", { source })).json();
export const cancelJob = (jobId) => call(`/v1/jobs/${encodeURIComponent(jobId)}`, { method: "DELETE" });
export const saveClass = async (className, itemIds, { savedBy = null, basis = null } = {}) =>
  (await post("/v1/marks/classes", { class_name: className, item_ids: itemIds, saved_by: savedBy, basis })).json();
export const findAlike = async (itemIds, signal) => (await post("/v1/marks/alike", { item_ids: itemIds }, { signal })).json();
export const getSavedClasses = async () => (await get("/v1/marks/classes")).classes;
export const undoClass = (number) => call(`/v1/marks/classes/${number}`, { method: "DELETE" });

let gallery = null;
let classes = null;
let labels = null;

/** Statistics of the gallery, requested once until `forget` is called. */
export const getGallery = () => (gallery ??= get("/v1/gallery").catch((error) => ((gallery = null), Promise.reject(error))));

/** Classes of the gallery, requested once until `forget` is called. */
export const getClasses = () =>
  (classes ??= get("/v1/classes").then((answer) => answer.classes).catch((error) => ((classes = null), Promise.reject(error))));

/** The label in force of each item that was given one, requested once until `forget` is called. */
export const getLabels = () =>
  (labels ??= getSavedClasses().then((saved) => {
    const byItem = new Map();
    for (const each of saved.filter((one) => !one.is_undone)) {
      for (const [itemId, former] of Object.entries(each.former_names)) byItem.set(itemId, { ...each, former });
    }
    return byItem;
  }).catch(() => new Map()));

/** Forgets what is known of the gallery; call it when the gallery has changed. */
export function forget() {
  gallery = classes = labels = null;
}

const EXPORTED = ["item_id", "rank", "score", "probability", "start_seconds", "end_seconds", "margin", "look_alike", "is_compared"];

/** Downloads hits, with their moments, as a file; returns its name. */
export async function exportHits(format, hits) {
  return saveAnswer(await post("/v1/marks/export", { format, hits: describeHits(hits) }), `fieldmark.${format}`);
}

/** Downloads the moments of hits, cut out of their files, as a zip with a table; returns its name. */
export async function exportMoments(hits, margin) {
  return saveAnswer(await post("/v1/marks/clips", { hits: describeHits(hits), margin_seconds: margin }), "moments.zip");
}

const describeHits = (hits) => hits.map((hit) => Object.fromEntries(EXPORTED.map((key) => [key, hit[key]])));

async function saveAnswer(answer, otherwise) {
  const name = /filename="([^"]+)"/.exec(answer.headers.get("content-disposition") ?? "")?.[1] ?? otherwise;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  return name;
}

/** Follows the events of a job until it ends. An EventSource could not send a token. */
export async function followJob(jobId, onJob, signal) {
  const answer = await call(`/v1/jobs/${encodeURIComponent(jobId)}/events`, { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (held + value.replaceAll("\r\n", "\n")).split("\n\n");
    held = events.pop();
    for (const event of events) {
      const data = event.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
      if (data) onJob(JSON.parse(data));
    }
  }
}
