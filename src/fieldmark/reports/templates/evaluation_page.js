"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const text = name => name.replaceAll("_", " ");
const make = (tag, attributes = {}, content = "") => {
  const element = Object.assign(document.createElement(tag), attributes);
  if (content) element.textContent = content;
  return element;
};

// What an item is: its picture, its player, its words, or why there is nothing.
function show(item, small) {
  const about = `${item.medium} of ${text(item.class_name)}`;
  if (item.problem) return [make("div", { className: "problem" }, item.problem)];
  if (item.text) return [make("blockquote", { tabIndex: small ? -1 : 0 }, item.text)];
  if (item.clip && !small) return [make("video", { src: item.clip, poster: item.picture, controls: true, loop: true, muted: true, playsInline: true, preload: "none", ariaLabel: about })];
  const parts = [make("img", { src: item.picture, alt: item.medium === "audio" ? `spectrogram: ${about}` : about })];
  if (item.sound && !small) parts.push(make("audio", { src: item.sound, controls: true, preload: "none", ariaLabel: about }));
  return parts;
}
for (const tile of document.querySelectorAll(".tile[data-row]")) tile.prepend(...show(data.items[tile.dataset.row], false));

// The map: one mark for each item, its shape the medium.
const canvas = document.getElementById("map");
if (canvas) {
  const pen = canvas.getContext("2d");
  const inspector = document.getElementById("inspector");
  const shapes = {
    image: (x, y, r) => pen.arc(x, y, r, 0, 7),
    text: (x, y, r) => pen.rect(x - r * .85, y - r * .85, r * 1.7, r * 1.7),
    video: (x, y, r) => { pen.moveTo(x, y - r * 1.2); pen.lineTo(x + r * 1.1, y + r * .8); pen.lineTo(x - r * 1.1, y + r * .8); pen.closePath(); },
    audio: (x, y, r) => { pen.moveTo(x, y - r * 1.25); pen.lineTo(x + r * 1.25, y); pen.lineTo(x, y + r * 1.25); pen.lineTo(x - r * 1.25, y); pen.closePath(); },
  };
  const classColor = place => `hsl(${(place * 137.5) % 360} ${60 + 15 * (place % 2)}% ${place % 3 ? 40 : 55}%)`;
  const color = () => document.querySelector("input[name=color]:checked").value;
  const chosen = () => document.getElementById("chosen").value;
  const shown = () => new Set([...document.querySelectorAll("input[name=medium]:checked")].map(input => input.value));
  let current = -1;
  const edge = 14;
  const place = point => [edge + point.x * (canvas.clientWidth - 2 * edge), edge + (1 - point.y) * (canvas.clientHeight - 2 * edge)];
  const isFaint = item => chosen() !== "" && item.class_name !== chosen();

  const css = getComputedStyle(document.documentElement); // follows the theme
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());

  function draw() {
    const width = canvas.parentElement.clientWidth < 700 ? canvas.clientWidth : canvas.clientWidth * .72;
    canvas.style.height = `${Math.round(width)}px`;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = canvas.clientHeight * ratio;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const media = shown(), byMedium = color() === "medium";
    const order = data.map.map((_, place) => place).sort((a, b) => isFaint(data.items[data.map[b].row]) - isFaint(data.items[data.map[a].row]));
    const radius = canvas.clientWidth < 500 ? 3.6 : 4.8;
    for (const number of order) {
      const point = data.map[number], item = data.items[point.row];
      if (!media.has(item.medium)) continue;
      const faint = isFaint(item);
      pen.globalAlpha = faint ? .18 : .85;
      pen.fillStyle = faint ? css.getPropertyValue("--faint") : byMedium ? css.getPropertyValue(`--${item.medium}`) : classColor(data.classes.indexOf(item.class_name));
      pen.beginPath();
      shapes[item.medium](...place(point), radius);
      pen.fill();
    }
    pen.globalAlpha = 1;
    if (current >= 0) {
      const point = data.map[current];
      pen.lineWidth = 2.5;
      pen.strokeStyle = css.getPropertyValue("--ink");
      pen.beginPath();
      shapes[data.items[point.row].medium](...place(point), radius + 3);
      pen.stroke();
    }
  }
  function inspect(number) {
    if (number === current || number < 0) return;
    current = number;
    const item = data.items[data.map[number].row];
    const caption = make("figcaption", {}, text(item.class_name));
    caption.append(make("small", {}, item.medium + (item.origin ? `, ${item.origin.replaceAll("_", " ")}` : "")), make("small", {}, item.item_id));
    const tile = make("figure", { className: "tile" });
    tile.append(...show(item, true), caption);
    inspector.replaceChildren(tile);
    draw();
  }
  function nearest(event) {
    const box = canvas.getBoundingClientRect(), media = shown();
    let best = -1, least = 22 ** 2;
    data.map.forEach((point, number) => {
      const item = data.items[point.row];
      if (!media.has(item.medium) || isFaint(item)) return;
      const [x, y] = place(point);
      const distance = (x - event.clientX + box.left) ** 2 + (y - event.clientY + box.top) ** 2;
      if (distance < least) [best, least] = [number, distance];
    });
    return best;
  }
  canvas.addEventListener("pointermove", event => inspect(nearest(event)));
  canvas.addEventListener("pointerdown", event => inspect(nearest(event)));
  canvas.addEventListener("keydown", event => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const media = shown();
    let next = current;
    for (let tried = 0; tried < data.map.length; tried++) {
      next = (next + step + data.map.length) % data.map.length;
      const item = data.items[data.map[next].row];
      if (media.has(item.medium) && !isFaint(item)) break;
    }
    inspect(next);
  });
  document.getElementById("controls").addEventListener("change", draw);
  new ResizeObserver(draw).observe(canvas.parentElement);
  draw();
}
