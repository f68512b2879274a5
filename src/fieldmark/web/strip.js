// Waveform and spectrogram over one time axis, with kHz and seconds, the moment marked and a moving cursor.

import { getItem, getWaveform, makeUrl } from "./api.js";
import { button, drawing, element, formatTime, whenNear } from "./dom.js";
import { t } from "./texts.js";

const POINTS = 400;
const SHOWN_PIXELS = { width: 640, height: 160 };
const WHOLE_SECONDS = 20;
const SHORTEST_SECONDS = 0.25;
const LONGEST_SECONDS = 600; // of a spectrogram; longer ones the server refuses
const TOP_KHZ = 11.025;
const FLOOR_DB = 60;
const ZOOM_STEP = 2;
const TICKS = [0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120];

/** Returns the stretch to show: the moment and its surroundings, within the times of the item. */
function stretchAround({ start_seconds: start, end_seconds: end }, [first, last]) {
  if (start === null || end === null) return { start_seconds: first, end_seconds: Math.min(last, first + WHOLE_SECONDS) };
  const around = Math.max(1.5, (end - start) / 2);
  return { start_seconds: Math.max(first, start - around), end_seconds: Math.min(last, end + around) };
}

function outline({ low, high }) {
  const there = high.map((value, index) => `${index},${(1 - value).toFixed(3)}`);
  const back = low.map((value, index) => `${index},${(1 - value).toFixed(3)}`).reverse();
  return drawing(
    "svg",
    { viewBox: `0 0 ${Math.max(1, high.length - 1)} 2`, preserveAspectRatio: "none", class: "waveform", "aria-hidden": "true" },
    drawing("path", { d: `M${there.join("L")}L${back.join("L")}Z` }),
  );
}

/** Scales a waveform to the whole height, so that a quiet song has a shape too. */
function normalizeHeight(waveform) {
  const peak = Math.max(0.01, ...waveform.high, ...waveform.low.map((value) => -value));
  const scale = (values) => values.map((value) => value / peak);
  return { ...waveform, low: scale(waveform.low), high: scale(waveform.high) };
}

/** The drawing of a player's sound; a click goes to a time. */
export class Strip {
  constructor(player) {
    this.player = player;
    this.part = player.part;
    this.limits = [0, Infinity];
    this.stretch = { start_seconds: 0, end_seconds: 1 };
    this.floor = FLOOR_DB;
    this.cursor = element("div", { class: "cursor", hidden: true });
    this.mark = element("div", { class: "moment-mark", hidden: true });
    this.wave = element("div", { class: "wave" });
    this.picture = element("img", { class: "spectrogram", alt: t("Spectrogram of {name}", { name: this.part.item_id }), ...SHOWN_PIXELS });
    this.stage = element("div", { class: "stage waiting", onclick: (event) => this.point(event) }, this.wave, this.picture, this.drawHertz(), this.mark, this.cursor);
    this.axis = element("div", { class: "axis", "aria-hidden": "true" });
    this.slider = element("input", {
      type: "range", min: 0, max: 1, step: 0.1, value: 0, "aria-label": t("Position in the recording"), oninput: () => this.go(Number(this.slider.value)),
    });
    this.node = element("div", { class: "strip" }, this.stage, this.axis, this.slider);
    player.media.addEventListener("timeupdate", () => this.showTime());
    player.media.addEventListener("seeked", () => this.showTime());
    player.media.addEventListener("play", () => this.move());
    whenNear(this.node, () => this.load());
  }

  get seconds() {
    return this.stretch.end_seconds - this.stretch.start_seconds;
  }

  /** Names of frequencies, on lines across the spectrogram. */
  drawHertz() {
    const lines = [2, 4, 6, 8, 10].map((khz) => {
      const line = element("span", { text: khz === 10 ? "10 kHz" : khz });
      line.style.bottom = `${(100 * khz) / TOP_KHZ}%`;
      return line;
    });
    return element("div", { class: "hertz", "aria-hidden": "true" }, lines);
  }

  async load() {
    try {
      const item = await getItem(this.part.item_id);
      this.limits = [item.start_seconds ?? 0, item.end_seconds ?? (Math.max(0, ...item.segments.map((each) => each.end_seconds ?? 0)) || Infinity)];
      await this.show(stretchAround(this.part, this.limits));
    } catch (error) {
      this.stage.replaceChildren(element("p", { class: "faint", text: t("This sound cannot be drawn: {reason}", { reason: error.message }) }));
    }
    this.stage.classList.remove("waiting");
  }

  /** Draws a stretch of the recording. */
  async show(stretch) {
    this.stretch = stretch;
    const waveform = await getWaveform(this.part.waveform_url, { points: POINTS, ...stretch });
    if (stretch !== this.stretch) return; // another one was asked for meanwhile
    const end = stretch.start_seconds + waveform.duration_seconds;
    if (end < stretch.end_seconds) {
      this.limits[1] = Math.min(this.limits[1], end);
      stretch.end_seconds = end;
    }
    this.wave.replaceChildren(outline(normalizeHeight(waveform)));
    this.showPicture();
    this.layOut();
  }

  showPicture() {
    this.picture.src = makeUrl(this.part.spectrogram_url, { ...this.stretch, ...SHOWN_PIXELS, ...(this.floor === FLOOR_DB ? {} : { floor_db: this.floor }) });
  }

  layOut() {
    const { start_seconds: start, end_seconds: end } = this.stretch;
    Object.assign(this.slider, { min: start, max: end, step: this.seconds > 4 ? 0.1 : 0.01 });
    this.slider.value = this.player.isPlaced ? this.player.now : (this.part.start_seconds ?? start);
    if (this.part.start_seconds !== null) {
      const [first, last] = [Math.max(start, this.part.start_seconds), Math.min(end, this.part.end_seconds)];
      this.mark.hidden = last <= first;
      this.mark.style.left = this.toPercent(first);
      this.mark.style.right = `calc(100% - ${this.toPercent(last)})`;
    }
    this.drawSeconds();
    this.showTime();
  }

  drawSeconds() {
    const step = TICKS.find((each) => this.seconds / each <= 6) ?? 300;
    const first = Math.ceil(this.stretch.start_seconds / step - 1e-6) * step;
    const ticks = [];
    for (let at = first; at <= this.stretch.end_seconds + 1e-6; at += step) {
      const tick = element("span", { text: step < 1 ? `${at.toFixed(step < 0.1 ? 2 : step === 0.25 ? 2 : 1)} s` : at < 60 ? `${Math.round(at)} s` : formatTime(at).replace(/\.0$/, "") });
      tick.style.left = this.toPercent(at);
      ticks.push(tick);
    }
    this.axis.replaceChildren(...ticks);
  }

  /** Zoom, contrast and the way to earlier and later parts. */
  makeControls() {
    const contrast = element("input", { type: "range", min: 20, max: 100, step: 5, value: 120 - this.floor, "aria-label": t("Contrast"), onchange: (event) => {
      this.floor = 120 - Number(event.target.value);
      this.showPicture();
    } });
    return [
      element("div", { class: "zoom-row", role: "group", "aria-label": t("Stretch of time") },
        button("left", { label: t("Earlier"), class: "plain round", onclick: () => this.shift(-0.5) }),
        button("minus", { label: t("Zoom out"), class: "plain round", onclick: () => this.zoom(ZOOM_STEP) }),
        button("plus", { label: t("Zoom in"), class: "plain round", onclick: () => this.zoom(1 / ZOOM_STEP) }),
        button("after", { label: t("Later"), class: "plain round", onclick: () => this.shift(0.5) })),
      element("label", { class: "field" }, element("span", { text: t("Contrast") }), contrast),
    ];
  }

  /** Shows more or less time, around the position or the moment. */
  zoom(factor) {
    const { start_seconds: start, end_seconds: end } = this.stretch;
    const middle = this.player.isPlaced ? this.player.now : this.part.start_seconds === null ? (start + end) / 2 : (this.part.start_seconds + this.part.end_seconds) / 2;
    return this.showAround(Math.min(end, Math.max(start, middle)), this.seconds * factor);
  }

  shift(share) {
    const { start_seconds: start, end_seconds: end } = this.stretch;
    return this.showAround((start + end) / 2 + share * this.seconds, this.seconds);
  }

  async showAround(middle, wanted) {
    const [first, last] = this.limits;
    const seconds = Math.min(Math.max(wanted, SHORTEST_SECONDS), last - first, LONGEST_SECONDS);
    const start = Math.max(first, Math.min(middle - seconds / 2, last - seconds));
    const end = Math.min(last, start + seconds);
    if (Math.abs(start - this.stretch.start_seconds) + Math.abs(end - this.stretch.end_seconds) < 1e-3) return;
    try {
      await this.show({ start_seconds: start, end_seconds: end });
    } catch {
      // The stretch before stays as it is.
    }
  }

  toPercent(seconds) {
    return `${(100 * (seconds - this.stretch.start_seconds)) / Math.max(0.001, this.seconds)}%`;
  }

  point(event) {
    const box = this.stage.getBoundingClientRect();
    this.go(this.stretch.start_seconds + (this.seconds * (event.clientX - box.left)) / box.width);
  }

  go(seconds) {
    this.player.seek(seconds).then(() => this.showTime(), () => {});
  }

  showTime() {
    const { now, media } = this.player;
    const { start_seconds: start, end_seconds: end } = this.stretch;
    const isInside = now >= start && now <= end && media.readyState > 0;
    this.cursor.hidden = !isInside;
    this.cursor.style.left = this.toPercent(now);
    if (isInside) this.slider.value = now;
    this.slider.setAttribute("aria-valuetext", formatTime(now));
    if (!media.paused && now > end && now < this.limits[1]) this.showAround(now + this.seconds / 2, this.seconds);
  }

  move() {
    this.showTime();
    if (!this.player.media.paused) requestAnimationFrame(() => this.move());
  }
}
