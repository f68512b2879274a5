// The map: items close together look or sound alike. Drag, scroll or use the keys; a point opens its item.

import { getItem, getMap, makeUrl } from "./api.js";
import { itemCard } from "./card.js";
import { announce, button, count, displayName, drawing, element, errorPanel, formatNumber, MEDIA, nameNodes, nameOf, namesOf } from "./dom.js";
import { CanvasPainter, PointPainter, Points, SHAPES } from "./map_points.js";
import { keepPlaying } from "./player.js";
import { writeArea } from "./state.js";
import { t } from "./texts.js";

const REACH_PIXELS = 14;
const ZOOM_STEP = 1.5;
const LARGEST_ZOOM = 120;
const WHOLE = { x: 0.5, y: 0.5, zoom: 0.92 };
const MOST_NAMES = 40;
const MOST_CORNERS = 60;
const HOVER_MILLISECONDS = 150;
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** A position as written in the address: x, y, zoom, and the species that stands out. */
export function readPlace(text) {
  const [x, y, zoom, ...name] = text.split(",");
  const view = { x: Number(x), y: Number(y), zoom: Number(zoom) };
  return text && Object.values(view).every(Number.isFinite) ? { view, className: name.join(",") || null } : { view: { ...WHOLE }, className: null };
}

/** A drawing that can be dragged, zoomed and walked with the keys. */
class Chart {
  constructor(points, { onOpen, onArea, onMove, place }) {
    Object.assign(this, { points, onOpen, onArea, onMove });
    this.shownMedia = new Set(MEDIA);
    this.className = points.classNames.includes(place.className) ? place.className : null;
    this.focused = -1;
    this.named = -1;
    this.view = place.view;
    this.pointers = new Map();
    this.isLasso = false;
    this.canvas = element("canvas", { tabindex: 0, role: "application", "aria-roledescription": t("map"), "aria-label": t("Map of the collection"), "aria-describedby": "map-help" });
    this.name = element("div", { class: "point-name", hidden: true });
    this.names = element("div", { class: "cluster-names", "aria-hidden": "true" });
    this.ring = element("div", { class: "point-ring", hidden: true });
    this.path = drawing("polygon", { points: "" });
    this.node = element("div", { class: "chart" }, this.canvas, this.names, this.ring, drawing("svg", { class: "lasso", "aria-hidden": "true" }, this.path), this.name);
    this.middles = points.middles();
    try {
      this.painter = new PointPainter(this.canvas, points);
    } catch {
      this.painter = new CanvasPainter(this.canvas, points);
    }
    this.choose();
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  isShown(index) {
    return this.shownMedia.has(this.points.mediumOf(index)) && (this.className === null || this.points.nameOf(index) === this.className);
  }

  /** Applies the choice of media and species. */
  choose() {
    const { points } = this;
    const chosen = new Float32Array(points.count);
    const wanted = this.className === null ? null : points.classNames.indexOf(this.className);
    const isShown = MEDIA.map((medium) => this.shownMedia.has(medium));
    for (let index = 0; index < points.count; index += 1) chosen[index] = !isShown[points.medium[index]] ? -1 : wanted === null || points.label[index] === wanted ? 1 : 0;
    this.painter.choose(chosen);
    this.draw();
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("keydown", (event) => this.press(event));
    canvas.addEventListener("focus", () => this.pointers.size === 0 && this.focused < 0 && this.focus(this.nearest(canvas.clientWidth / 2, canvas.clientHeight / 2, Infinity)));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.grasp(event));
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (event) => this.release(event));
    canvas.addEventListener("pointerleave", () => this.pointers.size === 0 && this.showName(this.focused));
  }

  grasp(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    this.isDragged = false;
    this.corners = this.isLasso ? [[event.offsetX, event.offsetY]] : null;
  }

  drag(event) {
    const held = this.pointers.get(event.pointerId);
    if (!held) return this.showName(this.at(event) >= 0 ? this.at(event) : this.focused);
    if (this.corners) {
      this.corners.push([event.offsetX, event.offsetY]);
      return this.path.setAttribute("points", this.corners.map((each) => each.join()).join(" "));
    }
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
    if (this.corners) {
      const corners = this.corners.map(([x, y]) => this.unproject(x, y));
      this.corners = null;
      if (corners.length >= 3) this.take(corners);
      return;
    }
    if (this.isDragged || event.type === "pointercancel") return;
    const point = this.at(event);
    if (point >= 0) {
      this.focus(point);
      this.onOpen(point);
    }
  }

  /** Takes an area as chosen: its corners in the plane of the map. */
  take(corners) {
    const step = Math.max(1, corners.length / MOST_CORNERS);
    const fewer = Array.from({ length: Math.min(MOST_CORNERS, corners.length) }, (_, index) => corners[Math.floor(index * step)].map((each) => Math.min(1, Math.max(0, each))));
    this.area = fewer;
    this.drawArea();
    this.onArea(fewer, this.countIn(fewer));
  }

  forgetArea() {
    this.area = null;
    this.drawArea();
  }

  /** All that is in sight, as an area: for those who do not draw. */
  takeView() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.take([[0, 0], [width, 0], [width, height], [0, height]].map(([x, y]) => this.unproject(x, y)));
  }

  countIn(corners) {
    let number = 0;
    for (let index = 0; index < this.points.count; index += 1) if (isInside(corners, this.points.x[index], this.points.y[index])) number += 1;
    return number;
  }

  drawArea() {
    const shown = (this.area ?? []).map(([x, y]) => [this.toLeft(x), this.toTop(y)].join());
    this.path.setAttribute("points", shown.join(" "));
  }

  press(event) {
    if (event.key in DIRECTIONS) this.walk(...DIRECTIONS[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoom(ZOOM_STEP);
    else if (event.key === "-") this.zoom(1 / ZOOM_STEP);
    else if (event.key === "0") this.showWhole();
    else if (event.key === "Enter" && this.focused >= 0) this.onOpen(this.focused);
    else return;
    event.preventDefault();
  }

  /** Goes to the nearest point within 45 degrees of a direction. */
  walk(dx, dy) {
    const { points } = this;
    if (this.focused < 0) return this.focus(this.nearest(this.canvas.clientWidth / 2, this.canvas.clientHeight / 2, Infinity));
    const [x, y] = [points.x[this.focused], points.y[this.focused]];
    let [best, least] = [-1, Infinity];
    for (let index = 0; index < points.count; index += 1) {
      const [right, down] = [points.x[index] - x, points.y[index] - y];
      const along = right * dx + down * dy;
      const aside = Math.abs(right * dy) + Math.abs(down * dx);
      if (along > 1e-6 && aside <= along && along + aside < least && index !== this.focused && this.isShown(index)) [best, least] = [index, along + aside];
    }
    return best < 0 ? announce(t("No more items in this direction.")) : this.focus(best);
  }

  focus(point) {
    if (point < 0) return;
    this.focused = point;
    const [x, y] = [this.toLeft(this.points.x[point]), this.toTop(this.points.y[point])];
    const margin = 30;
    if (x < margin || y < margin || x > this.canvas.clientWidth - margin || y > this.canvas.clientHeight - margin) Object.assign(this.view, { x: this.points.x[point], y: this.points.y[point] });
    this.draw();
    this.showName(point);
    announce(t("{name}, {medium}. Press Enter to open it.", { name: displayName(this.points.nameOf(point)), medium: nameOf(this.points.mediumOf(point)) }));
  }

  showName(point) {
    if (point !== this.named) {
      clearTimeout(this.hovering);
      const name = point < 0 ? null : this.points.nameOf(point);
      this.name.replaceChildren(...(point < 0 ? [] : [element("p", {}, nameNodes(name), ` · ${nameOf(this.points.mediumOf(point))}`)]));
      if (point >= 0) this.hovering = setTimeout(() => this.showMedia(point), HOVER_MILLISECONDS);
    }
    this.named = point;
    this.name.hidden = point < 0;
    if (point < 0) return;
    const [x, y] = [this.toLeft(this.points.x[point]), this.toTop(this.points.y[point])];
    this.name.style.left = `${Math.max(90, Math.min(this.canvas.clientWidth - 90, x))}px`;
    this.name.classList.toggle("below", y < this.canvas.clientHeight / 2);
    this.name.style.top = `${y}px`;
  }

  /** Shows the picture, the spectrogram or the first words of a point beside its name. */
  async showMedia(point) {
    const [itemId, medium] = [this.points.itemIds[point], this.points.mediumOf(point)];
    const url = (kind, parameters) => makeUrl(`/v1/${kind}/${encodeURIComponent(itemId)}`, parameters);
    let shown = null;
    if (medium === "text") shown = await getItem(itemId).then((item) => item.text && element("q", { dir: "auto", text: item.text.length > 140 ? `${item.text.slice(0, 140)} …` : item.text }), () => null);
    else shown = element("img", { alt: "", src: medium === "audio" ? url("spectrograms", { width: 176, height: 70, end_seconds: null }) : url("thumbnails", { pixels: 176, whole: true }) });
    if (!shown || point !== this.named) return;
    shown.addEventListener("error", () => shown.remove());
    this.name.append(shown);
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
    this.view = { ...WHOLE };
    this.draw();
  }

  get scale() {
    return Math.max(1, Math.min(this.canvas.clientWidth, this.canvas.clientHeight)) * this.view.zoom;
  }

  toLeft(x) {
    return (x - this.view.x) * this.scale + this.canvas.clientWidth / 2;
  }

  toTop(y) {
    return (y - this.view.y) * this.scale + this.canvas.clientHeight / 2;
  }

  unproject(left, top) {
    return [(left - this.canvas.clientWidth / 2) / this.scale + this.view.x, (top - this.canvas.clientHeight / 2) / this.scale + this.view.y];
  }

  at(event) {
    return this.nearest(event.offsetX, event.offsetY, REACH_PIXELS);
  }

  nearest(left, top, reach) {
    return this.points.nearest(...this.unproject(left, top), Math.min(2, reach / this.scale), (index) => this.isShown(index));
  }

  /** Draws once before the next frame, however often it is asked for. */
  draw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.paint();
    });
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.canvas.isConnected && this.onMove(this.view, this.className), 300);
  }

  paint() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (width === 0 || height === 0) return;
    const ratio = devicePixelRatio;
    const size = Math.min(9, (this.points.count < 500 ? 5 : this.points.count < 20_000 ? 3.2 : 2) * Math.sqrt(Math.max(1, this.view.zoom)));
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) Object.assign(this.canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    const style = getComputedStyle(this.canvas);
    const colors = [...MEDIA.map((medium) => [style.getPropertyValue(`--${medium}`), 0.8]), [style.getPropertyValue("--line"), 0.5]].map(([color, alpha]) => readColor(color, alpha));
    this.painter.draw({ ...this.view, scale: this.scale, width, height, ratio, size, colors });
    this.placeNames(width, height);
    this.placeRing(size);
    this.drawArea();
    this.showName(this.named);
  }

  /** Names of species where most of their points are, the largest first, none over another. */
  placeNames(width, height) {
    const taken = [];
    const shown = [];
    for (const { label, x, y } of this.middles) {
      if (shown.length === MOST_NAMES) break;
      const name = this.points.classNames[label];
      if (this.className !== null && name !== this.className) continue;
      const [left, top] = [this.toLeft(x), this.toTop(y)];
      const half = 3.6 * displayName(name).length + 6;
      if (left < half || top < 12 || left > width - half || top > height - 12) continue;
      if (taken.some((each) => Math.abs(each.left - left) < each.half + half && Math.abs(each.top - top) < 20)) continue;
      taken.push({ left, top, half });
      const node = element("span", {}, nameNodes(name));
      node.style.left = `${left}px`;
      node.style.top = `${top}px`;
      shown.push(node);
    }
    this.names.replaceChildren(...shown);
  }

  placeRing(size) {
    this.ring.hidden = this.focused < 0;
    if (this.focused < 0) return;
    this.ring.style.width = this.ring.style.height = `${2 * (size + 5)}px`;
    this.ring.style.left = `${this.toLeft(this.points.x[this.focused])}px`;
    this.ring.style.top = `${this.toTop(this.points.y[this.focused])}px`;
  }
}

/** A color of the style sheet, #rrggbb, as shares of one, with its alpha multiplied in. */
function readColor(text, alpha) {
  const number = Number.parseInt(text.trim().slice(1), 16);
  return [(number >> 16) & 255, (number >> 8) & 255, number & 255].map((each) => (each / 255) * alpha).concat(alpha);
}

/** Tells whether a point lies within corners: a line from it crosses their sides an odd number of times. */
function isInside(corners, x, y) {
  let isIn = false;
  for (let one = 0, other = corners.length - 1; one < corners.length; other = one++) {
    const [[ax, ay], [bx, by]] = [corners[one], corners[other]];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) isIn = !isIn;
  }
  return isIn;
}

function legend(chart, counts) {
  return element("fieldset", { class: "choices" }, element("legend", { class: "unseen", text: t("Media on the map") }),
    MEDIA.filter((medium) => counts[medium] > 0).map((medium) => {
      const change = (event) => {
        chart.shownMedia[event.target.checked ? "add" : "delete"](medium);
        chart.choose();
      };
      return element("label", { class: `choice ${medium}` }, element("input", { type: "checkbox", checked: true, onchange: change }), shapeOf(medium), element("span", { text: namesOf(medium) }));
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
  return element("select", { "aria-label": t("Species on the map"), onchange: (event) => {
    chart.className = event.target.value || null;
    chart.focused = -1;
    chart.showName(-1);
    chart.choose();
  } }, element("option", { value: "", text: t("All species") }), names.map((name) => element("option", { value: name, text: displayName(name), selected: name === chart.className })));
}

/** The buttons of the lasso, and what it has caught. */
function areaBar(actions) {
  const bar = element("div", { class: "area-bar", role: "status" });
  const show = (chart, corners, number) => bar.replaceChildren(
    element("span", { text: t("{items} in the area.", { items: count(number, "item", "items") }) }),
    button("search", { text: t("Search only there"), class: "primary", disabled: number === 0, onclick: () => actions.onlyArea(writeArea(corners)) }),
    button("wrong", { text: t("Forget the area"), class: "plain framed", onclick: () => (chart.forgetArea(), bar.replaceChildren()) }));
  return { bar, show };
}

/** The view of the map. */
export async function mapView(actions, state) {
  const map = await getMap();
  if (map.item_ids.length === 0) return element("div", { class: "panel" }, element("h1", { text: t("The map is empty") }), element("p", { text: t("The collection is still empty.") }));
  const points = new Points(map);
  const side = element("div", { class: "map-side" }, element("p", { class: "faint", text: t("Select a point to see or hear its item.") }));
  const open = async (point) => {
    keepPlaying(side);
    try {
      side.replaceChildren(itemCard(await getItem(points.itemIds[point]), { actions }));
    } catch (error) {
      side.replaceChildren(errorPanel(error));
    }
    announce(t("{name} is shown beside the map.", { name: displayName(points.nameOf(point)) }));
  };
  const area = areaBar(actions);
  const chart = new Chart(points, {
    place: readPlace(state.place),
    onOpen: open,
    onArea: (corners, number) => area.show(chart, corners, number),
    onMove: ({ x, y, zoom }, className) => actions.placeMap([x.toFixed(4), y.toFixed(4), zoom.toFixed(2), ...(className ? [className] : [])].join(",")),
  });
  const counts = Object.fromEntries(MEDIA.map((medium, code) => [medium, points.medium.reduce((sum, each) => sum + Number(each === code), 0)]));
  chart.node.append(element("div", { class: "zoomers" },
    button("plus", { label: t("Zoom in"), class: "plain round", onclick: () => chart.zoom(ZOOM_STEP) }),
    button("minus", { label: t("Zoom out"), class: "plain round", onclick: () => chart.zoom(1 / ZOOM_STEP) }),
    button("whole", { label: t("Show the whole map"), class: "plain round", onclick: () => chart.showWhole() })));
  const lasso = button("lasso", { text: t("Lasso"), class: "plain framed", "aria-pressed": "false" });
  lasso.addEventListener("click", () => {
    chart.isLasso = !chart.isLasso;
    chart.node.classList.toggle("drawing", chart.isLasso);
    lasso.setAttribute("aria-pressed", String(chart.isLasso));
  });
  const shown = points.count < map.item_count ? t("{number} of {items}", { number: formatNumber(points.count), items: count(map.item_count, "item", "items") }) : count(map.item_count, "item", "items");
  return element("div", { class: "map" },
    element("header", { class: "map-head" }, element("h1", { text: t("Map") }), element("p", { class: "faint", text: t("{items}. Items that look or sound alike are close together.", { items: shown }) })),
    element("div", { class: "map-bar" }, legend(chart, counts), classChoice(chart, [...points.classNames].sort()), lasso,
      button("select", { text: t("All in view"), class: "plain framed", onclick: () => chart.takeView() }),
      button("link", { text: t("Copy the link"), class: "plain framed", onclick: actions.copyLink })),
    area.bar,
    element("p", { class: "unseen", id: "map-help", text: t("Arrow keys move between items. Enter opens one. Plus and minus zoom. 0 shows the whole map.") }),
    element("div", { class: "map-frame" }, chart.node, side));
}
