// The dock at the edge of the page: what plays or records goes on there wherever one goes, with a button to stop it.

import { button, byId, element } from "./dom.js";
import { t } from "./texts.js";

/** Shows a row in the dock; gives a function that takes it away. */
export function dock(node) {
  const place = byId("dock");
  place.append(node);
  place.hidden = false;
  return () => {
    node.remove();
    place.hidden = place.children.length === 0;
  };
}

/** Moves a node without interrupting what plays in it. */
export function move(node, parent, before = null) {
  if (parent.moveBefore && node.isConnected && parent.isConnected) parent.moveBefore(node, before);
  else parent.insertBefore(node, before);
}

/** A row of the dock: a name, some controls and a button that ends it. */
export function dockRow(label, name, controls, { onEnd, endLabel }) {
  return element("div", { class: "dock-row", role: "group", "aria-label": label },
    element("p", { class: "dock-name", dir: "auto", text: name }), ...controls, button("stop", { text: endLabel, class: "plain framed", onclick: onEnd }));
}

/** A meter of loudness, 0 to 1; gives the node and a function that sets it. */
export function levelMeter() {
  const bar = element("i");
  const node = element("div", { class: "level", role: "meter", "aria-label": t("Loudness"), "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": 0 }, bar);
  const set = (level) => {
    bar.style.width = `${Math.round(100 * Math.min(1, level))}%`;
    bar.classList.toggle("loud", level > 0.95);
    node.setAttribute("aria-valuenow", String(Math.round(100 * Math.min(1, level))));
  };
  return { node, set };
}
