// The points of the map: all items as columns of numbers, found by position, drawn by WebGL or, without it, on a canvas.

import { MEDIA } from "./dom.js";

const POINTS_PER_CELL = 8;
const COARSE = 12; // cells along a side, in which a species is named

/** Items on a plane, in columns; x and y go from 0 to 1. */
export class Points {
  constructor({ item_ids: itemIds, class_names: classNames, media, x, y, medium, label }) {
    Object.assign(this, { itemIds, classNames, count: itemIds.length });
    this.x = Float32Array.from(x, (value) => value / 65535);
    this.y = Float32Array.from(y, (value) => value / 65535);
    this.medium = Uint8Array.from(medium, (code) => MEDIA.indexOf(media[code]));
    this.label = Int32Array.from(label);
    this.side = Math.max(1, Math.ceil(Math.sqrt(this.count / POINTS_PER_CELL)));
    this.sortIntoCells();
  }

  cellOf(value) {
    return Math.min(this.side - 1, Math.max(0, Math.floor(value * this.side)));
  }

  sortIntoCells() {
    const cells = Int32Array.from(this.x, (x, index) => this.cellOf(this.y[index]) * this.side + this.cellOf(x));
    this.starts = new Int32Array(this.side * this.side + 1);
    cells.forEach((cell) => (this.starts[cell + 1] += 1));
    for (let cell = 0; cell < this.side * this.side; cell += 1) this.starts[cell + 1] += this.starts[cell];
    const next = this.starts.slice();
    this.order = new Int32Array(this.count);
    cells.forEach((cell, index) => (this.order[next[cell]++] = index));
  }

  /** The nearest point within a reach that passes; -1 if there is none. */
  nearest(x, y, reach, passes) {
    let best = -1;
    const [left, right, top, bottom] = [x - reach, x + reach, y - reach, y + reach].map((each) => this.cellOf(each));
    for (let row = top; row <= bottom; row += 1) {
      for (let position = this.starts[row * this.side + left]; position < this.starts[row * this.side + right + 1]; position += 1) {
        const index = this.order[position];
        if (!passes(index)) continue;
        const distance = Math.hypot(this.x[index] - x, this.y[index] - y);
        if (distance < reach) [best, reach] = [index, distance];
      }
    }
    return best;
  }

  nameOf(index) {
    return this.label[index] < 0 ? null : this.classNames[this.label[index]];
  }

  mediumOf(index) {
    return MEDIA[this.medium[index]];
  }

  /** The middle of each class, where most of its points are, and how many there are; the largest class first. */
  middles() {
    const byLabel = new Map();
    for (let index = 0; index < this.count; index += 1) {
      if (this.label[index] < 0) continue;
      if (!byLabel.has(this.label[index])) byLabel.set(this.label[index], []);
      byLabel.get(this.label[index]).push(index);
    }
    return [...byLabel].map(([label, indices]) => ({ label, ...this.densest(indices) })).sort((one, other) => other.count - one.count);
  }

  /** The middle of the points in the fullest of some coarse cells. */
  densest(indices) {
    const cells = new Map();
    for (const index of indices) {
      const cell = Math.floor(this.x[index] * COARSE) * (COARSE + 1) + Math.floor(this.y[index] * COARSE);
      if (!cells.has(cell)) cells.set(cell, []);
      cells.get(cell).push(index);
    }
    const fullest = [...cells.values()].reduce((best, each) => (each.length > best.length ? each : best));
    const mean = (values) => fullest.reduce((sum, index) => sum + values[index], 0) / fullest.length;
    return { count: indices.length, x: mean(this.x), y: mean(this.y) };
  }
}

const VERTEX = `
attribute vec2 position;
attribute float medium;
attribute float chosen;
uniform vec2 middle;
uniform vec2 scale;
uniform float size;
varying float shape;
varying float isChosen;
void main() {
  shape = medium;
  isChosen = chosen;
  gl_Position = vec4((position - middle) * scale, 0.0, 1.0);
  gl_PointSize = chosen < 0.0 ? 0.0 : size;
}`;

/** Each medium has its own shape, so that nobody depends on color: circle, square, triangle, diamond. */
const FRAGMENT = `
precision mediump float;
uniform vec4 colors[5];
varying float shape;
varying float isChosen;
void main() {
  vec2 at = gl_PointCoord * 2.0 - 1.0;
  float inside;
  vec4 color;
  if (shape < 0.5) { inside = 0.8 - length(at); color = colors[0]; }
  else if (shape < 1.5) { inside = 0.68 - max(abs(at.x), abs(at.y)); color = colors[1]; }
  else if (shape < 2.5) { inside = min(0.75 - at.y, 0.9 + at.y - 2.0 * abs(at.x)) * 0.6; color = colors[2]; }
  else { inside = 0.95 - abs(at.x) - abs(at.y); color = colors[3]; }
  if (inside < 0.0) discard;
  gl_FragColor = isChosen > 0.5 ? color : colors[4];
}`;

/** Draws points by WebGL; throws where there is none. */
export class PointPainter {
  constructor(canvas, points) {
    this.points = points;
    this.gl = canvas.getContext("webgl", { antialias: false, alpha: true, premultipliedAlpha: true, preserveDrawingBuffer: true });
    if (!this.gl) throw new Error("no WebGL");
    const { gl } = this;
    this.program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(this.program, shader);
    }
    gl.linkProgram(this.program);
    if (!gl.getProgramParameter(this.program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(this.program));
    gl.useProgram(this.program);
    const position = new Float32Array(2 * points.count);
    for (let index = 0; index < points.count; index += 1) position.set([points.x[index], points.y[index]], 2 * index);
    this.fill("position", position, 2);
    this.fill("medium", Float32Array.from(points.medium), 1);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  fill(name, values, size) {
    const { gl } = this;
    const place = gl.getAttribLocation(this.program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, size, gl.FLOAT, false, 0, 0);
  }

  /** Sets which points stand out (1), stay gray (0) or are not drawn (-1). */
  choose(chosen) {
    this.fill("chosen", chosen, 1);
  }

  draw({ x, y, scale, width, height, ratio, size, colors }) {
    const { gl } = this;
    gl.viewport(0, 0, width * ratio, height * ratio);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const uniform = (name) => gl.getUniformLocation(this.program, name);
    gl.uniform2f(uniform("middle"), x, y);
    gl.uniform2f(uniform("scale"), (2 * scale) / width, (-2 * scale) / height);
    gl.uniform1f(uniform("size"), size * 2 * ratio);
    gl.uniform4fv(uniform("colors"), colors.flat());
    gl.drawArrays(gl.POINTS, 0, this.points.count);
  }
}

/** Shapes for a canvas, the same as those of the shader. */
export const SHAPES = {
  image: (pen, x, y, r) => pen.arc(x, y, r, 0, 2 * Math.PI),
  text: (pen, x, y, r) => pen.rect(x - 0.85 * r, y - 0.85 * r, 1.7 * r, 1.7 * r),
  video: (pen, x, y, r) => (pen.moveTo(x, y - 1.2 * r), pen.lineTo(x + 1.1 * r, y + 0.9 * r), pen.lineTo(x - 1.1 * r, y + 0.9 * r), pen.closePath()),
  audio: (pen, x, y, r) => (pen.moveTo(x, y - 1.3 * r), pen.lineTo(x + 1.3 * r, y), pen.lineTo(x, y + 1.3 * r), pen.lineTo(x - 1.3 * r, y), pen.closePath()),
};

/** Draws points on a canvas, where there is no WebGL. */
export class CanvasPainter {
  constructor(canvas, points) {
    this.points = points;
    this.pen = canvas.getContext("2d");
    this.chosen = new Float32Array(points.count);
  }

  choose(chosen) {
    this.chosen = chosen;
  }

  draw({ x, y, scale, width, height, ratio, size, colors }) {
    const { pen, points } = this;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    MEDIA.forEach((medium, code) => {
      for (const wanted of [0, 1]) {
        const [red, green, blue, alpha] = colors[wanted ? code : 4];
        pen.fillStyle = `rgb(${(255 * red) / alpha} ${(255 * green) / alpha} ${(255 * blue) / alpha} / ${alpha})`;
        pen.beginPath();
        for (let index = 0; index < points.count; index += 1) {
          if (points.medium[index] !== code || this.chosen[index] !== wanted) continue;
          const [left, top] = [(points.x[index] - x) * scale + width / 2, (points.y[index] - y) * scale + height / 2];
          if (left < -9 || top < -9 || left > width + 9 || top > height + 9) continue;
          pen.moveTo(left + size, top);
          SHAPES[medium](pen, left, top, 0.8 * size);
        }
        pen.fill();
      }
    });
  }
}
