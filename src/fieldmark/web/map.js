// The map: items close together look or sound alike. Drag, scroll or use the keys; a point opens its item.

import { getItem, getMap } from "./api.js";
import { itemCard } from "./card.js";
import { announce, button, count, element, errorPanel, MEDIA, MEDIUM_NAMES, formatName } from "./dom.js";
import { silence } from "./player.js";
import { inWords } from "./subject.js";

const REACH_PIXELS = 14;
const ZOOM_STEP = 1.5;
const LARGEST_ZOOM = 60;
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Each medium has its own shape, so that nobody depends on color. */
const SHAPES = {
  image: (pen, x, y, r) => pen.arc(x, y, r, 0, 2 * Math.PI),
  text: (pen, x, y, r) => pen.rect(x - 0.85 * r, y - 0.85 * r, 1.7 * r, 1.7 * r),
  video: (pen, x, y, r) => (pen.moveTo(x, y - 1.2 * r), pen.lineTo(x + 1.1 * r, y + 0.9 * r), pen.lineTo(x - 1.1 * r, y + 0.9 * r), pen.closePath()),
  audio: (pen, x, y, r) => (pen.moveTo(x, y - 1.3 * r), pen.lineTo(x + 1.3 * r, y), pen.lineTo(x, y + 1.3 * r), pen.lineTo(x - 1.3 * r, y), pen.closePath()),
};

/** A drawing that can be dragged, zoomed and walked with the keys. */
class Chart {
  constructor(points, onOpen) {
    this.points = points;
    this.onOpen = onOpen;
    this.shownMedia = new Set(MEDIA);
    this.className = null;
    this.focused = null;
    this.named = null;
    this.view = { x: 0.5, y: 0.5, zoom: 0.92 };
    this.pointers = new Map();
    this.canvas = element("canvas", { tabindex: 0, role: "application", "aria-roledescription": "map", "aria-label": "Map of the collection", "aria-describedby": "map-help" });
    this.name = element("p", { class: "point-name", hidden: true });
    this.node = element("div", { class: "chart" }, this.canvas, this.name);
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.scheme.addEventListener("change", () => this.draw());
  }

  get visible() {
    return this.points.filter((point) => this.shownMedia.has(point.medium) && (this.className === null || point.class_name === this.className));
  }

  listen() {
    this.canvas.addEventListener("keydown", (event) => this.press(event));
    this.canvas.addEventListener("focus", () => this.focused ?? this.focus(this.nearest(this.canvas.clientWidth / 2, this.canvas.clientHeight / 2, Infinity)));
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
    }, { passive: false });
    this.canvas.addEventListener("pointerdown", (event) => this.grasp(event));
    this.canvas.addEventListener("pointermove", (event) => this.drag(event));
    for (const kind of ["pointerup", "pointercancel"]) this.canvas.addEventListener(kind, (event) => this.release(event));
    this.canvas.addEventListener("pointerleave", () => this.pointers.size === 0 && this.showName(this.focused));
  }

  grasp(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    this.isDragged = false;
  }

  drag(event) {
    const held = this.pointers.get(event.pointerId);
    if (!held) return this.showName(this.nearest(event.offsetX, event.offsetY, REACH_PIXELS) ?? this.focused);
    const [dx, dy] = [event.offsetX - held.x, event.offsetY - held.y];
    if (Math.hypot(dx, dy) < 3 && !this.isDragged) return undefined;
    this.isDragged = true;
    const others = [...this.pointers.entries()].filter(([id]) => id !== event.pointerId).map(([, position]) => position);
    if (others.length > 0) {
      const before = Math.hypot(held.x - others[0].x, held.y - others[0].y);
      const after = Math.hypot(event.offsetX - others[0].x, event.offsetY - others[0].y);
      this.zoom(after / Math.max(1, before), (event.offsetX + others[0].x) / 2, (event.offsetY + others[0].y) / 2);
    } else {
      this.view.x -= dx / this.scale;
      this.view.y -= dy / this.scale;
      this.draw();
    }
    this.pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    return undefined;
  }

  release(event) {
    this.pointers.delete(event.pointerId);
    if (this.isDragged || event.type === "pointercancel") return;
    const point = this.nearest(event.offsetX, event.offsetY, REACH_PIXELS);
    if (point) {
      this.focus(point);
      this.onOpen(point);
    }
  }

  press(event) {
    if (event.key in DIRECTIONS) this.walk(...DIRECTIONS[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoom(ZOOM_STEP);
    else if (event.key === "-") this.zoom(1 / ZOOM_STEP);
    else if (event.key === "0") this.showWhole();
    else if (event.key === "Enter" && this.focused) this.onOpen(this.focused);
    else return;
    event.preventDefault();
  }

  /** Goes to the nearest point within 45 degrees of a direction. */
  walk(dx, dy) {
    if (!this.focused) return this.focus(this.visible[0]);
    const cost = (point) => {
      const [x, y] = [point.x - this.focused.x, point.y - this.focused.y];
      const along = x * dx + y * dy;
      const aside = Math.abs(x * dy) + Math.abs(y * dx);
      return along <= 1e-6 || aside > along ? Infinity : along + aside;
    };
    const costs = this.visible.map((point) => [cost(point), point]).filter(([value, point]) => value < Infinity && point !== this.focused);
    if (costs.length === 0) return announce("No more items in this direction.");
    return this.focus(costs.reduce((best, each) => (each[0] < best[0] ? each : best))[1]);
  }

  focus(point) {
    if (!point) return;
    this.focused = point;
    const { x, y } = this.project(point);
    const margin = 30;
    if (x < margin || y < margin || x > this.canvas.clientWidth - margin || y > this.canvas.clientHeight - margin) Object.assign(this.view, { x: point.x, y: point.y });
    this.draw();
    this.showName(point);
    announce(`${formatName(point.class_name)}, ${MEDIUM_NAMES[point.medium][0]}. Press Enter to open it.`);
  }

  showName(point) {
    this.named = point;
    this.name.hidden = !point;
    if (!point) return;
    const { x, y } = this.project(point);
    this.name.textContent = `${formatName(point.class_name)} · ${MEDIUM_NAMES[point.medium][0]}`;
    this.name.style.left = `${Math.max(80, Math.min(this.canvas.clientWidth - 80, x))}px`;
    this.name.style.top = `${y > 50 ? y - 34 : y + 16}px`;
  }

  /** Zooms around a point of the canvas, by default its middle. */
  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const before = this.scale;
    this.view.zoom = Math.min(LARGEST_ZOOM, Math.max(0.7, this.view.zoom * factor));
    const shift = 1 / before - 1 / this.scale;
    this.view.x += (x - this.canvas.clientWidth / 2) * shift;
    this.view.y += (y - this.canvas.clientHeight / 2) * shift;
    this.draw();
  }

  showWhole() {
    this.view = { x: 0.5, y: 0.5, zoom: 0.92 };
    this.draw();
  }

  get scale() {
    return Math.min(this.canvas.clientWidth, this.canvas.clientHeight) * this.view.zoom;
  }

  project(point) {
    return { x: (point.x - this.view.x) * this.scale + this.canvas.clientWidth / 2, y: (point.y - this.view.y) * this.scale + this.canvas.clientHeight / 2 };
  }

  nearest(x, y, reach) {
    let best = null;
    for (const point of this.visible) {
      const position = this.project(point);
      const distance = Math.hypot(position.x - x, position.y - y);
      if (distance < reach) [best, reach] = [point, distance];
    }
    return best;
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const ratio = devicePixelRatio;
    Object.assign(this.canvas, { width: width * ratio, height: height * ratio });
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const style = getComputedStyle(this.canvas);
    const radius = Math.min(9, (this.points.length < 500 ? 5 : 3.2) * Math.sqrt(Math.max(1, this.view.zoom)));
    for (const medium of MEDIA) {
      if (!this.shownMedia.has(medium)) continue;
      for (const isChosen of [false, true]) {
        pen.fillStyle = style.getPropertyValue(isChosen ? `--${medium}` : "--line");
        pen.globalAlpha = isChosen ? 0.8 : 0.5;
        pen.beginPath();
        for (const point of this.points) {
          if (point.medium !== medium || (this.className === null || point.class_name === this.className) !== isChosen) continue;
          const { x, y } = this.project(point);
          if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
          pen.moveTo(x + radius, y);
          SHAPES[medium](pen, x, y, radius);
        }
        pen.fill();
      }
    }
    this.drawFocus(pen, style, radius);
    this.showName(this.named);
  }

  drawFocus(pen, style, radius) {
    if (!this.focused) return;
    const { x, y } = this.project(this.focused);
    pen.globalAlpha = 1;
    pen.lineWidth = 2.5;
    pen.strokeStyle = style.getPropertyValue("--ink");
    pen.beginPath();
    pen.arc(x, y, radius + 5, 0, 2 * Math.PI);
    pen.stroke();
  }
}

function legend(chart, counts) {
  return element("fieldset", { class: "choices" }, element("legend", { class: "unseen", text: "Media on the map" }),
    MEDIA.filter((medium) => counts[medium] > 0).map((medium) => {
      const change = (event) => {
        chart.shownMedia[event.target.checked ? "add" : "delete"](medium);
        chart.draw();
      };
      return element("label", { class: `choice ${medium}` }, element("input", { type: "checkbox", checked: true, onchange: change }), shapeOf(medium), element("span", { text: MEDIUM_NAMES[medium][1] }));
    }));
}

function shapeOf(medium) {
  const made = element("canvas", { class: "shape", width: 28, height: 28, "aria-hidden": "true" });
  requestAnimationFrame(() => {
    const pen = made.getContext("2d");
    pen.fillStyle = getComputedStyle(made).getPropertyValue(`--${medium}`);
    SHAPES[medium](pen, 14, 14, 8.5);
    pen.fill();
  });
  return made;
}

function classChoice(chart, names) {
  return element("select", { "aria-label": inWords("Species on the map"), onchange: (event) => {
    chart.className = event.target.value || null;
    chart.focused = null;
    chart.showName(null);
    chart.draw();
  } }, element("option", { value: "", text: inWords("All species") }), names.map((name) => element("option", { value: name, text: formatName(name) })));
}

/** The view of the map. */
export async function mapView(actions) {
  const map = await getMap();
  if (map.points.length === 0) return element("div", { class: "panel" }, element("h1", { text: "The map is empty" }), element("p", { text: "The collection is still empty." }));
  const side = element("div", { class: "map-side" }, element("p", { class: "faint", text: "Select a point to see or hear its item." }));
  const open = async (point) => {
    silence();
    try {
      side.replaceChildren(itemCard(await getItem(point.item_id), { actions }));
    } catch (error) {
      side.replaceChildren(errorPanel(error));
    }
    announce(`${formatName(point.class_name)} is shown beside the map.`);
  };
  const chart = new Chart(map.points, open);
  const counts = Object.fromEntries(MEDIA.map((medium) => [medium, map.points.filter((point) => point.medium === medium).length]));
  const names = [...new Set(map.points.map((point) => point.class_name).filter(Boolean))].sort();
  chart.node.append(element("div", { class: "zoomers" },
    button("plus", { label: "Zoom in", class: "plain round", onclick: () => chart.zoom(ZOOM_STEP) }),
    button("minus", { label: "Zoom out", class: "plain round", onclick: () => chart.zoom(1 / ZOOM_STEP) }),
    button("whole", { label: "Show the whole map", class: "plain round", onclick: () => chart.showWhole() })));
  const shown = map.points.length < map.item_count ? `${map.points.length.toLocaleString("en")} of ${count(map.item_count, "item", "items")}` : count(map.item_count, "item", "items");
  return element("div", { class: "map" },
    element("header", { class: "map-head" }, element("h1", { text: "Map" }), element("p", { class: "faint", text: `${shown}. Items that look or sound alike are close together.` })),
    element("div", { class: "map-bar" }, legend(chart, counts), classChoice(chart, names)),
    element("p", { class: "unseen", id: "map-help", text: "Arrow keys move between items. Enter opens one. Plus and minus zoom. 0 shows the whole map." }),
    element("div", { class: "map-frame" }, chart.node, side));
}
