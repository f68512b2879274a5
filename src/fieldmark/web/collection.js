// The collection: its statistics, species and saved labels, and indexing jobs.

import { cancelJob, followJob, forget, getClasses, getGallery, getJobs, getSavedClasses, startJob } from "./api.js";
import { button, count, displayName, element, formatName, formatNumber, icon, MEDIA, nameNodes, nameOf, namesOf, namesWithin, toast } from "./dom.js";
import { undoLabels } from "./labels.js";
import { t } from "./texts.js";

const FIRST_SHARES = 6;
const UNITS = ["bytes", "kB", "MB", "GB", "TB"];

function formatBytes(bytes) {
  const power = Math.min(UNITS.length - 1, bytes > 0 ? Math.floor(Math.log10(bytes) / 3) : 0);
  return `${(bytes / 1000 ** power).toFixed(power > 0 ? 1 : 0)} ${UNITS[power]}`;
}

/** The view of the collection. `actions`: searchClass, refresh. */
export async function collectionView(actions) {
  const [gallery, classes, saved] = await Promise.all([getGallery(), getClasses(), getSavedClasses()]);
  return element(
    "div",
    { class: "collection" },
    element("h1", { dir: "auto", text: gallery.name }),
    numbers(gallery),
    gallery.sources.length > 0 ? await jobsPanel(gallery.sources, actions) : null,
    classTable(classes, actions),
    savedClasses(saved.filter((each) => !each.is_undone), actions),
    element("div", { class: "shares" }, shares("Sets", gallery.set_counts, "no set"), shares("Licenses", gallery.license_counts, "no license given")),
    facts(gallery),
  );
}

function numbers(gallery) {
  const most = Math.max(1, ...MEDIA.map((medium) => gallery.counts[medium] ?? 0));
  const tiles = MEDIA.map((medium) => {
    const held = gallery.counts[medium] ?? 0;
    const bar = element("div", { class: "bar", "aria-hidden": "true" }, element("i"));
    bar.firstChild.style.width = `${(100 * held) / most}%`;
    return element("li", { class: medium }, icon(medium), element("strong", { text: formatNumber(held) }), element("span", { text: held === 1 ? nameOf(medium) : namesWithin(medium) }), bar);
  });
  return element("div", {},
    element("p", { class: "lead", text: t(gallery.class_count > 0 ? "{items} of {species} in {segments}" : "{items} in {segments}", { items: count(gallery.item_count, "item", "items"), species: count(gallery.class_count, "species", "species"), segments: count(gallery.segment_count, "segment", "segments") }) }),
    element("ul", { class: "numbers" }, tiles));
}

/** All names of a class but the one that is shown; where that is in the reader's language, the owner's too. */
const othersOf = (each) => [...new Set([formatName(each.class_name), ...each.synonyms])].filter((name) => name !== displayName(each.class_name));

function classTable(classes, actions) {
  if (classes.length === 0) return element("p", { class: "panel", text: t("The items have no class names. Search still works. To name items, mark hits as right and save them as a class.") });
  const rows = classes.map((each) => element("tr", { "data-class": each.class_name },
    element("th", { scope: "row" }, element("button", { type: "button", class: "linkish", onclick: () => actions.searchClass(each.class_name) }, nameNodes(each.class_name)),
      othersOf(each).length > 0 ? element("span", { class: "faint synonyms" }, othersOf(each).flatMap((name, index) => [index > 0 ? ", " : "", nameNodes(name)])) : null),
    MEDIA.map((medium) => element("td", { class: each.counts[medium] ? "" : "faint", text: formatNumber(each.counts[medium] ?? 0) }))));
  const narrow = (event) => {
    const wanted = event.target.value.toLowerCase();
    rows.forEach((row) => (row.hidden = !row.firstChild.textContent.toLowerCase().includes(wanted)));
  };
  return element("section", { "aria-labelledby": "classes-title" },
    element("div", { class: "table-head" }, element("h2", { id: "classes-title", text: t("Species") }), element("input", { type: "search", placeholder: t("Find a species"), "aria-label": t("Find a species"), oninput: narrow })),
    element("div", { class: "table-frame", tabindex: 0, role: "region", "aria-label": t("Table of species") },
      element("table", {}, element("thead", {}, element("tr", {}, element("th", { scope: "col", text: t("Species") }), MEDIA.map((medium) => element("th", { scope: "col", text: namesOf(medium) })))), element("tbody", {}, rows))));
}

/** Labels that users saved, each with an undo button. */
function savedClasses(saved, actions) {
  if (saved.length === 0) return null;
  const undo = (each) => undoLabels([each.number], actions.refresh);
  const told = (each) => [
    each.saved_by && t("by {person}", { person: each.saved_by }),
    each.saved_at?.replace("T", " ").replace("+00:00", " UTC"),
    each.basis && t("from {basis}", { basis: each.basis }),
  ].filter(Boolean).join(", ");
  return element("section", {}, element("h2", { text: t("Saved labels") }),
    element("ul", { class: "share-list saved" }, saved.map((each) => element("li", {},
      element("span", { dir: "auto" }, `${displayName(each.class_name)}: ${count(Object.keys(each.former_names).length, "item", "items")}`, told(each) ? element("span", { class: "faint told", dir: "auto", text: told(each) }) : null),
      button("wrong", { text: t("Undo"), class: "plain framed", "aria-label": t("Undo {name}", { name: displayName(each.class_name) }), onclick: () => undo(each) })))));
}

function shares(title, counts, nameless) {
  const rows = Object.entries(counts).sort((one, other) => other[1] - one[1]);
  if (rows.length === 0) return null;
  const list = (some) => element("ul", { class: "share-list" }, some.map(([name, number]) =>
    element("li", {}, element("span", { dir: "auto", text: name || t(nameless) }), element("span", { class: "number", text: formatNumber(number) }))));
  const rest = rows.length > FIRST_SHARES ? element("details", {}, element("summary", { text: t("{number} more", { number: formatNumber(rows.length - FIRST_SHARES) }) }), list(rows.slice(FIRST_SHARES))) : null;
  return element("section", {}, element("h2", { text: t(title) }), list(rows.slice(0, FIRST_SHARES)), rest);
}

function facts(gallery) {
  const rows = [
    ["On disk", formatBytes(gallery.bytes)],
    ["Query media", gallery.media.map((medium) => namesWithin(medium)).join(", ")],
    ["Probabilities shown for", gallery.calibrated_pairs.length > 0 ? gallery.calibrated_pairs.map((pair) => pair.split("_to_").map(namesOf).join(" → ")).join(", ") : t("none; similarities are shown instead")],
    ["Fingerprint", gallery.fingerprint],
  ];
  return element("section", {}, element("h2", { text: t("Facts") }), element("dl", { class: "fact-list" }, rows.flatMap(([name, value]) => [element("dt", { text: t(name) }), element("dd", { text: value })])));
}

// ---------------------------------------------------------------- jobs

async function jobsPanel(sources, actions) {
  const list = element("ul", { class: "jobs" });
  const show = async () => {
    const jobs = await getJobs();
    list.replaceChildren(...jobs.slice(0, 5).map((job) => jobRow(job, actions)));
  };
  const start = async (source) => {
    try {
      await startJob(source);
    } catch (error) {
      toast(error.message);
    }
    await show();
  };
  await show();
  return element("section", { class: "panel", "aria-labelledby": "jobs-title" },
    element("h2", { id: "jobs-title", text: t("Index more items") }),
    element("p", { class: "faint", text: t("New items are added, unchanged items are skipped, and missing items are removed. You can search meanwhile.") }),
    element("div", { class: "sources" }, sources.map((source) => button("plus", { text: t("Index {source}", { source }), class: "plain framed", onclick: () => start(source) }))),
    list);
}

const STATES = { running: "running", done: "done", failed: "failed", cancelled: "cancelled" };

function jobRow(job, actions) {
  const bar = element("progress", { "aria-label": t("Progress of {source}", { source: job.source }) });
  const text = element("p", { role: "status" });
  const stop = button("stop", { text: t("Cancel"), class: "plain framed", onclick: () => cancelJob(job.job_id).catch((error) => toast(error.message)) });
  const row = element("li", {}, element("strong", { dir: "auto", text: job.source }), bar, text, stop);
  const show = (now) => {
    const isRunning = now.state === "running";
    row.dataset.state = now.state;
    bar.hidden = stop.hidden = !isRunning;
    if (now.total > 0) Object.assign(bar, { max: now.total, value: now.done });
    text.textContent = isRunning ? `${t(now.task)} ${now.total > 0 ? t("{done} of {total}", { done: formatNumber(now.done), total: formatNumber(now.total) }) : ""}` : (now.message ?? endOf(now));
  };
  show(job);
  if (job.state === "running") follow(job, show, row, actions);
  return row;
}

function endOf(job) {
  const numbers = Object.entries(job.result ?? {}).filter(([, value]) => Number.isFinite(value)).map(([name, value]) => `${t(name.replaceAll("_", " "))} ${formatNumber(value)}`);
  return [t(STATES[job.state]), ...numbers].join(", ");
}

async function follow(job, show, row, actions) {
  const control = new AbortController();
  let last = job;
  try {
    await followJob(job.job_id, (now) => {
      last = now;
      show(now);
      if (!row.isConnected) control.abort();
    }, control.signal);
  } catch (error) {
    if (error.name !== "AbortError") toast(error.message);
    return;
  }
  // What a job has added stays, even if it was cancelled or failed.
  if (last.state !== "running" && row.isConnected) {
    forget();
    actions.refresh();
  }
}

/** Returns one line for the head of the page. */
export async function describeHolding() {
  const gallery = await getGallery();
  const held = count(gallery.item_count, "item", "items");
  return gallery.class_count > 0 ? `${held} · ${count(gallery.class_count, "species", "species")}` : held;
}
