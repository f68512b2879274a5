// Exports: hits as a file for other programs, or their moments as a zip with a table.

import { exportHits, exportMoments } from "./api.js";
import { count, element, openDialog, toast } from "./dom.js";
import { t } from "./texts.js";

export const FORMATS = { csv: "Table (CSV)", raven: "Raven selection table", audacity: "Audacity labels", dwc: "Darwin Core occurrences", dwca: "Darwin Core Archive", inaturalist: "iNaturalist table" };
const ZIP = "Media of the moments (ZIP)";
const MARGINS = [0, 1, 3, 5];

const saved = async (save) => {
  try {
    toast(t("Saved as {name}.", { name: await save() }));
  } catch (error) {
    toast(error.message);
  }
};

/** Downloads an export and tells how it went. */
export const saveExport = (format, hits) => saved(() => exportHits(format, hits));

/** Asks for a format, then downloads. */
export function askForExport(hits) {
  const choose = (save) => {
    close();
    return saved(save);
  };
  const margin = element("select", { id: "zip-margin" }, MARGINS.map((seconds) => element("option", { value: seconds, text: t("{seconds} s", { seconds }) })));
  const zip = () => {
    toast(t("The moments are being cut out of their files."));
    return choose(() => exportMoments(hits, Number(margin.value)));
  };
  const close = openDialog(
    t("Export"),
    element("p", { text: t("{hits} as:", { hits: count(hits.length, "hit", "hits") }) }),
    element("div", { class: "dialog-list" },
      Object.entries(FORMATS).map(([format, text]) => element("button", { type: "button", class: "plain framed", text: t(text), onclick: () => choose(() => exportHits(format, hits)) })),
      element("button", { type: "button", class: "plain framed", text: t(ZIP), onclick: zip }),
      element("label", { class: "field", for: "zip-margin" }, element("span", { text: t("Before and after each moment") }), margin)),
  );
}
