// Photos that are zoomed and moved together, so that the same part of each can be compared.

import { button, element } from "./dom.js";
import { t } from "./texts.js";

const STEP = 1.5;
const LARGEST = 8;
const SHARE_OF_A_KEY = 0.1;
const KEYS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/** Frames of photos that share one zoom. */
export class ZoomTogether {
  constructor() {
    this.frames = new Set();
    this.view = { zoom: 1, x: 0, y: 0 }; // x and y in shares of a frame
  }

  makeButtons() {
    return [
      button("minus", { label: t("Zoom all photos out"), class: "plain round", onclick: () => this.zoom(1 / STEP) }),
      button("plus", { label: t("Zoom all photos in"), class: "plain round", onclick: () => this.zoom(STEP) }),
      button("whole", { label: t("Show whole photos"), class: "plain round", onclick: () => this.set({ zoom: 1, x: 0, y: 0 }) }),
    ];
  }

  /** Puts a photo into a frame; gives the frame. */
  add(photo) {
    photo.draggable = false;
    const frame = element("div", { class: "zoomed", tabindex: 0, role: "group", "aria-label": t("Photo to zoom; plus, minus and arrow keys") }, photo);
    this.frames.add(frame);
    frame.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && this.view.zoom === 1 && event.deltaY > 0) return; // the page scrolls on
      if (!event.ctrlKey && !event.altKey && this.view.zoom === 1) return;
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 300));
    }, { passive: false });
    frame.addEventListener("pointerdown", (event) => this.grasp(event, frame));
    frame.addEventListener("dblclick", () => this.zoom(this.view.zoom < 2 ? 2 : 1 / this.view.zoom));
    frame.addEventListener("keydown", (event) => this.press(event));
    this.draw(frame);
    return frame;
  }

  grasp(start, frame) {
    if (this.view.zoom === 1) return;
    frame.setPointerCapture(start.pointerId);
    const from = { ...this.view };
    const move = (event) => this.set({ ...from, x: from.x + (event.clientX - start.clientX) / frame.clientWidth, y: from.y + (event.clientY - start.clientY) / frame.clientHeight });
    frame.addEventListener("pointermove", move);
    frame.addEventListener("pointerup", () => frame.removeEventListener("pointermove", move), { once: true });
    frame.addEventListener("pointercancel", () => frame.removeEventListener("pointermove", move), { once: true });
  }

  press(event) {
    if (event.key === "+" || event.key === "=") this.zoom(STEP);
    else if (event.key === "-") this.zoom(1 / STEP);
    else if (event.key === "0") this.set({ zoom: 1, x: 0, y: 0 });
    else if (event.key in KEYS && this.view.zoom > 1) this.set({ ...this.view, x: this.view.x + KEYS[event.key][0] * SHARE_OF_A_KEY, y: this.view.y + KEYS[event.key][1] * SHARE_OF_A_KEY });
    else return;
    event.preventDefault();
  }

  zoom(factor) {
    const zoom = Math.min(LARGEST, Math.max(1, this.view.zoom * factor));
    const scale = zoom / this.view.zoom;
    this.set({ zoom, x: this.view.x * scale, y: this.view.y * scale });
  }

  set({ zoom, x, y }) {
    const edge = (zoom - 1) / 2;
    this.view = { zoom, x: Math.min(edge, Math.max(-edge, x)), y: Math.min(edge, Math.max(-edge, y)) };
    for (const frame of this.frames) {
      if (frame.isConnected) this.draw(frame);
      else this.frames.delete(frame);
    }
  }

  draw(frame) {
    const { zoom, x, y } = this.view;
    frame.firstChild.style.transform = `translate(${100 * x}%, ${100 * y}%) scale(${zoom})`;
    frame.classList.toggle("near", zoom > 1);
  }
}
