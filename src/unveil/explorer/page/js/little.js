// A small latent plane: the encoded examples as dots in the colours of their labels, and whatever a view marks on it.

const STEP = 1 / 24; // of the plane's width, by an arrow key
const MARGIN = 0.06;

/** The square that holds points (x0, y0, x1, y1, ...) but for the outermost few, and always the origin. */
export function extent(points) {
  const reach = (axis) => {
    const values = Float64Array.from(points.filter((_, at) => at % 2 === axis)).sort();
    const at = (share) => values[Math.min(values.length - 1, Math.floor(share * values.length))] || 0;
    return values.length ? [Math.min(0, at(0.002)), Math.max(0, at(0.998))] : [-3, 3];
  };
  const [[left, right], [bottom, top]] = [reach(0), reach(1)];
  const side = (1 + 2 * MARGIN) * Math.max(right - left, top - bottom, 1e-6);
  return { left: (left + right - side) / 2, top: (bottom + top + side) / 2, side };
}

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
    const [x, y] = this.little.pixel(middle), unit = this.little.size / this.little.window.side;
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
   * canvas: square. points: (x0, y0, x1, y1, ...) of the examples. colours: one for each, read anew at each drawing.
   * marks(Marks): what is drawn over them. picked(point): called by a click, a tap or Enter; null where nothing can be picked.
   */
  constructor(canvas, { points, colours, marks, picked = null }) {
    Object.assign(this, { canvas, points, colours, marks, picked });
    this.window = extent(points);
    this.cursor = null;
    if (picked) this.listen();
  }

  get size() {
    return this.canvas.clientWidth;
  }

  pixel([x, y]) {
    const { left, top, side } = this.window;
    return [((x - left) / side) * this.size, ((top - y) / side) * this.size];
  }

  point([x, y]) {
    const { left, top, side } = this.window;
    return [left + (x / this.size) * side, top - (y / this.size) * side];
  }

  listen() {
    const { canvas } = this, arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    canvas.tabIndex = 0;
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      this.picked(this.point([event.clientX - box.left, event.clientY - box.top]));
    });
    canvas.addEventListener("keydown", (event) => {
      const { left, top, side } = this.window;
      const cursor = this.cursor || [left + side / 2, top - side / 2];
      if (arrows[event.key]) {
        const step = STEP * side * (event.shiftKey ? 0.2 : 1);
        this.cursor = cursor.map((value, axis) => value + step * arrows[event.key][axis]);
      } else if (event.key === "Enter" || event.key === " ") {
        this.cursor = cursor;
        this.picked(cursor);
      } else {
        return;
      }
      event.preventDefault();
      this.paint();
    });
    canvas.addEventListener("blur", () => {
      this.cursor = null;
      this.paint();
    });
  }

  paint() {
    const scale = window.devicePixelRatio || 1, side = Math.max(1, Math.round(this.size * scale));
    if (this.canvas.width !== side) this.canvas.width = this.canvas.height = side;
    const context = this.canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, this.size, this.size);
    const marks = new Marks(context, this), colours = this.colours();
    context.globalAlpha = 0.5;
    for (let at = 0; at < this.points.length / 2; at++) {
      marks.dot([this.points[2 * at], this.points[2 * at + 1]], 1.8, colours[at]);
    }
    context.globalAlpha = 1;
    this.marks(marks);
    if (!this.cursor) return;
    marks.ring(this.cursor, 9, getComputedStyle(this.canvas).color);
    marks.dot(this.cursor, 1.5, getComputedStyle(this.canvas).color);
  }
}
