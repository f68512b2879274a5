// Players that start at the moment of a hit and stop at its end, with a waveform and a spectrogram.

import { makeUrl, getItem, getWaveform } from "./api.js";
import { announce, button, drawing, element, icon, formatMoment, formatTime } from "./dom.js";

const POINTS = 400;
const SHOWN_PIXELS = { width: 640, height: 150 };
const WHOLE_SECONDS = 20;

let playing = null;

/** Pauses what is playing. */
export function silence() {
  playing?.pause();
}

/** Plays one moment of a media element. */
class Moment {
  constructor(media, { start_seconds: start, end_seconds: end }) {
    this.media = media;
    this.start = start ?? 0;
    this.end = end ?? Infinity;
    this.stopAt = Infinity;
    media.addEventListener("timeupdate", () => this.stopInTime());
    media.addEventListener("play", () => this.follow());
  }

  async play() {
    if (this.media.readyState < HTMLMediaElement.HAVE_METADATA) await this.load();
    this.media.currentTime = this.start;
    this.stopAt = this.end;
    await this.media.play();
  }

  /** Jumps to a time; playing then stops at the end of the moment, or of the file if the time is outside the moment. */
  async seek(seconds) {
    if (this.media.readyState < HTMLMediaElement.HAVE_METADATA) await this.load();
    this.media.currentTime = seconds;
    this.stopAt = seconds >= this.start && seconds < this.end ? this.end : Infinity;
  }

  load() {
    return new Promise((resolve, reject) => {
      this.media.addEventListener("loadedmetadata", resolve, { once: true });
      this.media.addEventListener("error", () => reject(new Error("The browser cannot play this file.")), { once: true });
      this.media.preload = "auto";
      this.media.load();
    });
  }

  stopInTime() {
    if (this.media.currentTime < this.stopAt) return;
    this.media.pause();
    this.stopAt = Infinity;
  }

  /** Checks the time on every frame: `timeupdate` comes too rarely to stop in time. */
  follow() {
    if (playing !== this.media) silence();
    playing = this.media;
    const look = () => {
      this.stopInTime();
      if (!this.media.paused) requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  }
}

/** Returns the stretch to show: the moment and its surroundings, within the times of the item. */
function stretchAround({ start_seconds: start, end_seconds: end }, item) {
  const [first, last] = [item.start_seconds ?? 0, item.end_seconds ?? Infinity];
  if (start === null || end === null) return { start_seconds: first, end_seconds: Math.min(last, first + WHOLE_SECONDS) };
  const around = Math.max(1.5, (end - start) / 2);
  return { start_seconds: Math.max(first, start - around), end_seconds: Math.min(last, end + around) };
}

/** Calls once, when an element is about to become visible. */
export function whenNear(node, call) {
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    call();
  }, { rootMargin: "300px" });
  observer.observe(node);
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

/** Waveform and spectrogram over one time axis, with the moment marked and a moving cursor; a click jumps to a time. */
class Strip {
  constructor(part, media, moment) {
    this.part = part;
    this.media = media;
    this.moment = moment;
    this.stretch = { start_seconds: 0, end_seconds: 1 };
    this.cursor = element("div", { class: "cursor", hidden: true });
    this.mark = element("div", { class: "moment-mark", hidden: true });
    this.picture = element("img", { class: "spectrogram", alt: `Spectrogram of ${part.item_id}`, ...SHOWN_PIXELS });
    this.stage = element("div", { class: "stage waiting", onclick: (event) => this.point(event) }, this.picture, this.mark, this.cursor);
    this.slider = element("input", {
      type: "range", min: 0, max: 1, step: 0.1, value: 0, "aria-label": "Position in the recording", oninput: () => this.slide(),
    });
    this.node = element("div", { class: "strip" }, this.stage, this.slider);
    media.addEventListener("timeupdate", () => this.showTime());
    media.addEventListener("play", () => this.move());
    whenNear(this.node, () => this.load());
  }

  get seconds() {
    return this.stretch.end_seconds - this.stretch.start_seconds;
  }

  async load() {
    try {
      this.stretch = stretchAround(this.part, await getItem(this.part.item_id));
      const waveform = await getWaveform(this.part.waveform_url, { points: POINTS, ...this.stretch });
      this.stretch.end_seconds = Math.min(this.stretch.end_seconds, this.stretch.start_seconds + waveform.duration_seconds);
      this.stage.prepend(outline(normalizeHeight(waveform)));
      this.picture.src = makeUrl(this.part.spectrogram_url, this.stretch);
      this.layOut();
    } catch (error) {
      this.stage.replaceChildren(element("p", { class: "faint", text: `This sound cannot be drawn: ${error.message}` }));
    }
    this.stage.classList.remove("waiting");
  }

  layOut() {
    const { start_seconds: start, end_seconds: end } = this.stretch;
    Object.assign(this.slider, { min: start, max: end, value: this.part.start_seconds ?? start });
    if (this.part.start_seconds !== null) {
      this.mark.hidden = false;
      this.mark.style.left = this.toPercent(this.part.start_seconds);
      this.mark.style.right = `calc(100% - ${this.toPercent(Math.min(end, this.part.end_seconds))})`;
    }
    this.showTime();
  }

  toPercent(seconds) {
    return `${(100 * (seconds - this.stretch.start_seconds)) / Math.max(0.001, this.seconds)}%`;
  }

  point(event) {
    const box = this.stage.getBoundingClientRect();
    this.moment.seek(this.stretch.start_seconds + (this.seconds * (event.clientX - box.left)) / box.width).then(() => this.showTime());
  }

  slide() {
    this.moment.seek(Number(this.slider.value)).then(() => this.showTime());
  }

  showTime() {
    const now = this.media.currentTime;
    const isInside = now >= this.stretch.start_seconds && now <= this.stretch.end_seconds && this.media.readyState > 0;
    this.cursor.hidden = !isInside;
    this.cursor.style.left = this.toPercent(now);
    if (isInside) this.slider.value = now;
    this.slider.setAttribute("aria-valuetext", formatTime(now));
  }

  move() {
    this.showTime();
    if (!this.media.paused) requestAnimationFrame(() => this.move());
  }
}

function playButton(media, moment, part) {
  const text = part.start_seconds === null ? "Play" : formatMoment(part);
  const made = button("play", { text, class: "play", "aria-label": part.start_seconds === null ? "Play" : `Play the moment ${text}` });
  const show = (name) => made.firstChild.replaceWith(icon(name));
  made.addEventListener("click", async () => {
    if (!media.paused) return media.pause();
    try {
      await moment.play();
    } catch (error) {
      if (error.name !== "AbortError") announce(error.message);
    }
    return undefined;
  });
  media.addEventListener("play", () => show("pause"));
  media.addEventListener("pause", () => show("play"));
  media.addEventListener("error", () => {
    made.disabled = true;
    made.lastChild.textContent = "cannot be played here";
  });
  return made;
}

/** The player of a sound or a video; null if there is no file to play. */
export function createPlayer(part) {
  if (part.media_url === null) return null;
  const isVideo = part.medium === "video";
  const media = isVideo
    ? element("video", { preload: "none", playsinline: true, poster: part.thumbnail_url && makeUrl(part.thumbnail_url, { pixels: 480 }), src: part.media_url, "aria-label": `Video ${part.item_id}` })
    : element("audio", { preload: "none", src: part.media_url });
  // Before it plays, its picture is worth more than a second set of buttons.
  if (isVideo) media.addEventListener("play", () => (media.controls = true), { once: true });
  const moment = new Moment(media, part);
  const strip = part.waveform_url && new Strip(part, media, moment);
  const controls = element("div", { class: "controls" }, playButton(media, moment, part), element("a", { class: "faint", href: part.media_url, target: "_blank", rel: "noopener", text: "open file" }));
  return element("div", { class: `player ${part.medium}` }, media, strip?.node, controls);
}
