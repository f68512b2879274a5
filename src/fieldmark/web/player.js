// Players of sounds and videos: the moment of a hit, again and again, slowly, with some time around it, or as a file.

import { makeUrl } from "./api.js";
import { dock, dockRow, move } from "./dock.js";
import { announce, button, displayName, element, icon, formatMoment, toast, whenNear } from "./dom.js";
import { Strip } from "./strip.js";
import { t } from "./texts.js";

const LONGEST_CLIP_SECONDS = 120;
const MARGINS = [0, 1, 3];

/** What holds for all players: the time before and after a moment, in seconds. */
const settings = { margin: 0 };

let playing = null;
let inDock = null;
const playerByNode = new WeakMap();

/** Pauses what is playing. */
export function silence() {
  playing?.media.pause();
}

/** The player in a node; null if there is none. */
export const playerIn = (node) => playerByNode.get(node.matches(".player") ? node : (node.querySelector(".player") ?? node)) ?? null;

/** Lets what plays in a view go on in the dock: the view is about to go. */
export function keepPlaying(view) {
  if (!playing || playing.media.paused || inDock || !view?.contains(playing.media)) return;
  const player = playing;
  const place = element("span", { hidden: true }); // where it comes from
  player.media.before(place);
  const row = dockRow(t("Playing"), player.title, [player.makePlayButton()], { endLabel: t("Stop"), onEnd: () => player.media.pause() });
  const close = dock(row);
  move(player.media, row, row.querySelector(".play"));
  inDock = { player, home: () => {
    inDock = null;
    if (place.isConnected) move(player.media, place.parentNode, place);
    else place.before(player.media);
    place.remove();
    close();
  } };
}

/** Puts what plays in the dock back where it came from, if that is shown again, or if it has ended. */
export function returnHome() {
  if (inDock && (inDock.player.node.isConnected || inDock.player.media.paused)) inDock.home();
}

/** One sound or video, and the moment in it. All times are those of the file, also where a cut copy is played. */
class Player {
  constructor(part, media) {
    this.part = part;
    this.media = media;
    this.title = displayName(part.class_name ?? part.called ?? part.item_id);
    this.start = part.start_seconds ?? part.item_start_seconds ?? 0;
    this.end = part.end_seconds ?? Infinity;
    this.offset = 0; // of the copy that is played within the file
    this.stopAt = Infinity;
    this.reached = 0; // a file that fails says no more where it was
    this.isPlaced = false; // somewhere the user has chosen, or paused
    this.isLooping = false;
    media.addEventListener("timeupdate", () => this.stopInTime());
    media.addEventListener("play", () => this.follow());
    media.addEventListener("pause", () => setTimeout(returnHome));
    media.addEventListener("ended", () => (this.isLooping ? this.begin() : (this.isPlaced = false)));
    media.addEventListener("error", () => this.recover());
  }

  get now() {
    return this.media.currentTime + this.offset;
  }

  set now(seconds) {
    this.reached = seconds;
    this.media.currentTime = Math.max(0, seconds - this.offset);
  }

  get first() {
    return Math.max(this.offset, this.part.item_start_seconds ?? 0, this.start - settings.margin);
  }

  get last() {
    return this.end + settings.margin;
  }

  /** Plays from where it was paused or put, else the moment from its beginning. */
  async play() {
    await this.load();
    if (!this.isPlaced) this.now = this.first;
    const now = this.isPlaced ? this.now : this.first;
    this.stopAt = now < this.last && now >= this.first - 0.05 ? this.last : Infinity;
    this.isPlaced = true;
    await this.media.play();
  }

  /** Plays the moment from its beginning. */
  begin() {
    this.isPlaced = false;
    return this.play();
  }

  /** Plays the moment once; resolves when it has ended or was stopped. */
  async playThrough() {
    const ended = new Promise((resolve) => this.media.addEventListener("pause", resolve, { once: true }));
    await this.begin();
    await ended;
  }

  /** Goes to a time, whether it plays or not; what plays stops at the end of the moment, if it is in it. */
  async seek(seconds) {
    await this.load();
    this.now = seconds;
    this.isPlaced = true;
    this.stopAt = seconds >= this.first && seconds < this.last ? this.last : Infinity;
  }

  load() {
    if (this.media.readyState >= HTMLMediaElement.HAVE_METADATA) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
      this.media.addEventListener("loadedmetadata", resolve, { once: true });
      this.media.preload = "auto";
      this.media.load();
    });
  }

  /** A file that the browser cannot decode is asked for as a cut copy, which it can; then there is a button. */
  recover() {
    const [now, wasPlaying] = [this.isPlaced ? this.reached : this.first, !this.media.paused];
    if (!this.isCopy) {
      this.isCopy = true;
      this.offset = this.first;
      this.media.src = this.clipUrl();
      this.media.addEventListener("loadedmetadata", () => {
        this.now = now;
        if (wasPlaying) this.media.play();
      }, { once: true });
      this.media.preload = "auto";
      this.media.load();
      return;
    }
    this.settle?.reject(new Error(t("The browser cannot play this file.")));
    this.trouble.replaceChildren(
      element("span", { text: t("The browser cannot play this file.") }),
      button("loop", { text: t("Try again"), class: "plain framed", onclick: () => this.startAnew(now) }));
    this.trouble.hidden = false;
    announce(t("The browser cannot play this file."));
  }

  async startAnew(seconds) {
    Object.assign(this, { isCopy: false, offset: 0 });
    this.trouble.hidden = true;
    this.media.src = this.part.media_url;
    this.media.load();
    await this.seek(seconds).then(() => this.play(), () => {});
  }

  /** The URL of the moment as a file of its own. */
  clipUrl() {
    const start = this.first;
    const end = Math.min(this.last, start + LONGEST_CLIP_SECONDS);
    return makeUrl(`/v1/clips/${encodeURIComponent(this.part.item_id)}`, { start_seconds: start, end_seconds: Number.isFinite(this.last) ? end : null });
  }

  stopInTime() {
    if (this.media.currentTime > 0) this.reached = this.now;
    if (this.now < this.stopAt) return;
    if (this.isLooping) {
      this.now = this.first;
      return;
    }
    this.stopAt = Infinity;
    this.isPlaced = false;
    this.media.pause();
  }

  /** Checks the time on every frame: `timeupdate` comes too rarely to stop in time. */
  follow() {
    if (playing !== this) silence();
    if (inDock && inDock.player !== this) inDock.home();
    playing = this;
    this.trouble.hidden = true;
    const look = () => {
      this.stopInTime();
      if (!this.media.paused) requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  }

  slowDown(isSlow) {
    this.media.preservesPitch = false; // as with a tape: an octave lower, where fast notes come apart
    this.media.defaultPlaybackRate = this.media.playbackRate = isSlow ? 0.5 : 1;
  }

  makePlayButton() {
    const { part, media } = this;
    const text = part.start_seconds === null ? t("Play") : formatMoment(part);
    const name = part.start_seconds === null ? t("Play") : t("Play the moment {moment}", { moment: text });
    const made = button("play", { text, class: "play", "aria-label": name });
    const show = (shape) => made.firstChild.replaceWith(icon(shape));
    made.addEventListener("click", async () => {
      if (!media.paused) return media.pause();
      try {
        await this.play();
      } catch (error) {
        if (error.name !== "AbortError") announce(error.message);
      }
      return undefined;
    });
    media.addEventListener("play", () => show("pause"));
    media.addEventListener("pause", () => show("play"));
    if (!media.paused) show("pause");
    return made;
  }
}

function pressed(name, label, onChange) {
  const made = button(name, { label, class: "plain round", "aria-pressed": "false" });
  made.addEventListener("click", () => {
    const isOn = made.getAttribute("aria-pressed") !== "true";
    made.setAttribute("aria-pressed", String(isOn));
    onChange(isOn);
  });
  return made;
}

/** What is needed less often: zoom, contrast, the time around the moment, files. It is made when it is first opened. */
function moreControls(player) {
  const { part, strip } = player;
  const fill = () => {
    const margin = element("select", { onchange: (event) => (settings.margin = Number(event.target.value)) }, MARGINS.map((seconds) => element("option", { value: seconds, selected: seconds === settings.margin, text: t("{seconds} s", { seconds }) })));
    const download = element("a", { class: "plain framed", href: player.clipUrl(), download: "" }, icon("export"), t("Save the moment"));
    download.addEventListener("click", () => {
      download.href = player.clipUrl();
      toast(t("The moment is being cut out of its file."));
    });
    panel.replaceChildren(
      ...(strip ? strip.makeControls() : []),
      element("label", { class: "field" }, element("span", { text: t("Before and after") }), margin),
      download,
      element("a", { class: "plain framed", href: part.media_url, target: "_blank", rel: "noopener", text: t("Open the file") }));
  };
  const panel = element("div", { class: "player-panel" });
  const made = element("details", { class: "player-more" }, element("summary", { class: "plain round", "aria-label": t("More of this player"), title: t("More of this player") }, icon("dots")), panel);
  made.addEventListener("toggle", () => made.open && panel.children.length === 0 && fill());
  return made;
}

/** The player of a sound or a video; null if there is no file to play. */
export function createPlayer(part) {
  if (part.media_url === null) return null;
  const isVideo = part.medium === "video";
  const media = element(isVideo ? "video" : "audio", { preload: "none", playsinline: isVideo, src: part.media_url, "aria-label": isVideo ? t("Video {name}", { name: part.item_id }) : null });
  if (isVideo) {
    // Before it plays, its picture is worth more than a second set of buttons.
    media.addEventListener("play", () => (media.controls = true), { once: true });
    if (part.thumbnail_url) whenNear(media, () => (media.poster = makeUrl(part.thumbnail_url, { pixels: 480, whole: true, at_seconds: part.start_seconds })));
  }
  const player = new Player(part, media);
  player.strip = part.waveform_url ? new Strip(player) : null;
  player.trouble = element("p", { class: "trouble", role: "alert", hidden: true });
  const controls = element("div", { class: "controls" },
    player.makePlayButton(),
    pressed("loop", t("Repeat the moment"), (isOn) => (player.isLooping = isOn)),
    pressed("slow", t("Half speed, an octave lower"), (isOn) => player.slowDown(isOn)),
    moreControls(player));
  player.node = element("div", { class: `player ${part.medium}` }, media, player.strip?.node, player.trouble, controls);
  playerByNode.set(player.node, player);
  return player.node;
}

