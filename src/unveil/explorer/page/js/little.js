// A small latent plane: the encoded examples as dots in the colours of their labels, and whatever a view marks on it.

import { Lens } from "./lens.js";
import { colour, onTheme, value } from "./theme.js";

const STEP = 1 / 24; // of the plane's width, by an arrow key
const NEAR = 16; // pixels within which a mark is taken hold of
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/** What a view draws with: lengths in CSS pixels, places in the plane's own units. */
class Marks {
  constructor(context, little) {
    this.context = context;
    this.little = little;
  }

  dot(point, radius, colour) {
    const [x, y] = this.little.pixel(point);
    this.context.beginPath();
    this.context.arc(x, y, radius, 0, 7);
    this.context.fillStyle = colour;
    this.context.fill();
  }

  ring(point, radius, colour, width = 2) {
    const [x, y] = this.little.pixel(point);
    this.context.beginPath();
    this.context.arc(x, y, radius, 0, 7);
    this.stroke(colour, width);
  }

  line(points, colour, width = 2) {
    this.context.beginPath();
    points.forEach((point, at) => this.context[at ? "lineTo" : "moveTo"](...this.little.pixel(point)));
    this.stroke(colour, width);
  }

  ellipse(middle, { across, along, angle }, colour) {
    const [x, y] = this.little.pixel(middle), unit = this.little.size / (2 * this.little.lens.half);
    this.context.beginPath();
    // up is down on a canvas: angles turn the other way
    this.context.ellipse(x, y, Math.max(1, across * unit), Math.max(1, along * unit), -angle, 0, 2 * Math.PI);
    this.stroke(colour, 2);
  }

  text(point, words, colour) {
    const [x, y] = this.little.pixel(point);
    this.context.font = "600 12px system-ui, sans-serif";
    this.context.textAlign = "center";
    this.context.textBaseline = "middle";
    this.context.fillStyle = colour;
    this.context.fillText(words, x, y);
  }

  stroke(colour, width) {
    this.context.strokeStyle = colour;
    this.context.lineWidth = width;
    this.context.stroke();
  }
}

/** The plane itself. */
export class Little {
  /**
   * canvas: square. marks(Marks): what is drawn over the dots. picked(point): a click, a tap or Enter; null where nothing
   * can be picked. held(): points that can be taken hold of, and moved(at, point): one of them was. size: of a dot.
   */
  constructor(canvas, app, marks, { picked = null, held = () => [], moved = null, size = 1.8 } = {}) {
    Object.assign(this, { canvas, app, marks, picked, held, moved, dot: size, cursor: null });
    this.lens = new Lens(app.latent.landscape.box);
    this.places = this.examples();
    if (picked) this.listen();
    onTheme(() => this.paint());
  }

  /** Where the examples lie: [[x, y], label] of each. */
  examples() {
    const { points, latent } = this.app;
    if (!points) return [];
    const label = (at) => (points.labels ? points.labels[at] : null);
    return Array.from({ length: points.count }, (_, at) => [this.app.project(points.mean, at * latent.size), label(at)]);
  }

  /** Looks at all, and from as far as it takes to see a point, too. */
  reach(point) {
    const { lens } = this;
    Object.assign(lens, lens.home);
    if (point) lens.half = Math.max(lens.half, 1.1 * Math.abs(point[0] - lens.x), 1.1 * Math.abs(point[1] - lens.y));
  }

  get size() {
    return this.canvas.clientWidth;
  }

  pixel(point) {
    return this.lens.pixel(point, this.size);
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  /** Which of the points that can be held lies under a place; -1 for none. */
  under([x, y]) {
    const far = this.held().map((point) => Math.hypot(this.pixel(point)[0] - x, this.pixel(point)[1] - y));
    const least = Math.min(...far);
    return least < NEAR ? far.indexOf(least) : -1;
  }

  listen() {
    const { canvas } = this;
    let holding = -1, pointer = null;
    canvas.tabIndex = 0;
    canvas.addEventListener("pointerdown", (event) => {
      holding = this.under(this.place(event));
      if (holding < 0) return;
      pointer = event.pointerId;
      canvas.setPointerCapture(pointer);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (pointer === event.pointerId && this.moved) this.moved(holding, this.lens.point(this.place(event), this.size));
    });
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => {
        if (pointer === event.pointerId) pointer = null;
      });
    }
    canvas.addEventListener("click", (event) => {
      if (holding < 0) this.picked(this.lens.point(this.place(event), this.size));
    });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => {
      this.cursor = null;
      this.paint();
    });
  }

  key(event) {
    const cursor = this.cursor || [this.lens.x, this.lens.y], arrow = ARROWS[event.key];
    if (arrow) {
      const step = STEP * 2 * this.lens.half * (event.shiftKey ? 0.2 : 1);
      this.cursor = cursor.map((one, axis) => one + step * arrow[axis]);
      this.app.say(this.cursor.map((one) => one.toFixed(2)).join(", "));
    } else if (event.key === "Enter" || event.key === " ") {
      this.cursor = cursor;
      this.picked(cursor);
    } else {
      return;
    }
    event.preventDefault();
    this.paint();
  }

  paint() {
    if (!this.size) return; // out of sight
    const scale = window.devicePixelRatio || 1, side = Math.round(this.size * scale);
    if (this.canvas.width !== side) this.canvas.width = this.canvas.height = side;
    const context = this.canvas.getContext("2d"), marks = new Marks(context, this);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, this.size, this.size);
    context.globalAlpha = 0.45;
    for (const [point, label] of this.places) marks.dot(point, this.dot, colour(label));
    context.globalAlpha = 1;
    this.marks(marks);
    if (!this.cursor) return;
    marks.ring(this.cursor, 9, value("--ink"));
    marks.dot(this.cursor, 1.5, value("--ink"));
  }
}
