// The manifold: what the model draws at the points of a grid over the visible plane, drawn anew as one zooms or moves.

import { choice, h, labelled, latest } from "./dom.js";
import { face } from "./face.js";
import { gestures } from "./lens.js";
import { savePng } from "./sheet.js";
import { onTheme, value } from "./theme.js";

const COUNTS = [8, 12, 16, 20, 28]; // images to a side
const TOGETHER = 60; // images that are decoded at a time, about
const LEAST = 26; // CSS pixels of an image, for the first choice

class ManifoldView {
  constructor(root, app) {
    Object.assign(this, { root, app, sight: app.sight, drawn: null, asked: 0 });
    this.canvas = h("canvas", {
      class: "layer", tabindex: "0", role: "application", "aria-roledescription": "grid of decoded images", "aria-describedby": "manifold-help",
      "aria-label": "Decoded images over the latent plane. Arrow keys move the plane.",
    });
    this.square = h("div", { class: "square", id: "manifold-square" }, [this.canvas]);
    this.made = face(app, "The image under the pointer");
    this.where = h("output", { class: "where" });
    this.room = h("div", { class: "room" });
    this.count = this.first();
    const counts = choice(COUNTS.map((count) => [count, `${count} × ${count}`]), (count) => {
      this.count = Number(count);
      this.draw();
    });
    counts.value = this.count;
    root.append(h("div", { class: "board" }, [
      h("div", {}, [this.square, this.tools(), this.help()]),
      h("div", { class: "side" }, [
        h("div", { class: "faces" }, [h("figure", { class: "made" }, [this.made.element, h("figcaption", {}, [h("span", {}, "Decoded here"), this.where])])]),
        labelled("Images", counts), this.room,
      ]),
    ]));
    this.listen();
  }

  first() {
    const fit = Math.min(this.root.clientWidth, 640) / LEAST;
    return COUNTS.filter((count) => count <= fit).pop() || COUNTS[0];
  }

  tools() {
    const { lens } = this.sight, button = (text, label, act) => h("button", { type: "button", class: "plain", "aria-label": label, onclick: act }, text);
    return h("div", { class: "bar tools" }, [
      button("+", "Zoom in", () => lens.zoom(1.5)), button("−", "Zoom out", () => lens.zoom(1 / 1.5)), button("Whole", "The whole plane", () => lens.reset()),
      h("span", { class: "gap" }), button("Save PNG", "Save these images as a PNG file", () => this.drawn && savePng(this.drawn.sheet, "manifold.png")),
    ]);
  }

  help() {
    return h("p", { class: "quiet", id: "manifold-help" }, "Drag to move the plane; scroll or pinch to zoom. Keys: arrows move, + − zoom, 0 shows all.");
  }

  listen() {
    const { sight } = this;
    gestures(this.canvas, sight.lens, { hovered: (point) => point && this.point(point) });
    const decode = latest(() => this.decoded());
    this.draw = () => {
      this.asked++;
      decode();
    };
    const again = () => {
      if (!this.open) return;
      this.soon();
      this.draw();
    };
    sight.lens.listeners.push(again);
    sight.heard((what) => what !== "at" && again());
    onTheme(() => this.open && this.paint());
    new ResizeObserver(() => this.soon()).observe(this.square);
  }

  /** Decodes the grid, a few rows at a time; where nothing is seen yet they are shown as they come. */
  async decoded() {
    const { app, sight, count } = this, { x, y, half } = sight.lens, { frame } = sight, { size } = app.latent, asked = this.asked;
    const [, height, width] = app.image.shape, step = (2 * half) / count, rows = Math.max(1, Math.floor(TOGETHER / count));
    const next = { x, y, half, frame, count, images: [], sheet: h("canvas", { width: count * width, height: count * height }) };
    const context = next.sheet.getContext("2d"), fresh = !this.drawn || this.drawn.frame !== frame;
    if (fresh) this.drawn = next;
    if (fresh) this.where.textContent = "Decoding…";
    for (let from = 0; from < count; from += rows) {
      const n = count * Math.min(rows, count - from), z = new Float32Array(n * size);
      const places = Array.from({ length: n }, (_, at) => [at % count, from + Math.floor(at / count)]);
      const points = places.map(([i, j]) => [x - half + (i + 0.5) * step, y + half - (j + 0.5) * step]);
      points.forEach((point, at) => z.set(sight.z(point), at * size));
      const made = await app.model.decode(z, n, app.context(sight.label, n)), one = made.length / n;
      if (asked !== this.asked) return; // something else is wanted by now
      places.forEach(([i, j], at) => {
        const outside = sight.beyond(points[at]);
        next.images.push(outside ? null : made.subarray(at * one, (at + 1) * one));
        if (!outside) context.putImageData(app.picture(made, at * one), i * width, j * height);
      });
      if (fresh) this.soon();
    }
    this.drawn = next;
    await new Promise((done) => requestAnimationFrame(done));
    this.paint();
    this.point(this.under || [x, y]);
  }

  soon() {
    if (this.waiting || !this.open) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.paint();
    });
  }

  /** What was decoded last, where it lies now. */
  paint() {
    const { canvas, drawn } = this, side = this.square.clientWidth, scale = window.devicePixelRatio || 1;
    const pixels = Math.max(1, Math.round(side * scale));
    if (canvas.width !== pixels) canvas.width = canvas.height = pixels;
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.fillStyle = value("--paper");
    context.fillRect(0, 0, side, side);
    if (!drawn || drawn.frame !== this.sight.frame) return;
    const { lens } = this.sight, [left, top] = lens.pixel([drawn.x - drawn.half, drawn.y + drawn.half], side), size = (drawn.half / lens.half) * side;
    context.imageSmoothingQuality = "high";
    context.drawImage(drawn.sheet, left, top, size, size);
  }

  /** Shows the image at a point, large. */
  point(point) {
    const { drawn } = this;
    this.under = point;
    if (!drawn) return;
    const place = (value, low) => Math.min(drawn.count - 1, Math.max(0, Math.floor(((value - low) / (2 * drawn.half)) * drawn.count)));
    const column = place(point[0], drawn.x - drawn.half), row = drawn.count - 1 - place(point[1], drawn.y - drawn.half);
    const image = drawn.images[row * drawn.count + column];
    if (image) this.made.show(image);
    this.where.textContent = image ? this.sight.said(point) : "";
  }
}

let view = null;

export const manifold = {
  id: "manifold",
  title: "Manifold",
  about: "Every picture is what the model draws at its place of the plane, so that one sees at a glance how one kind of image turns into another.",
  missing(app) {
    if (!app.image) return "The model does not make images, so there is nothing to lay out.";
    if (!app.model.can("decode")) return `Nothing can be decoded in this page: ${app.model.why("decode")}.`;
    if (app.latent.size === 1) return "This latent space is a line: Plane and Walk show all of it.";
    if (!app.latent.ways.length) return "This model writes codes, and between two codes there is nothing to lay out.";
    return app.latent.moves ? "" : "This latent space is curved, and no grid of the plane lies in it.";
  },
  mount(root, app) {
    view = new ManifoldView(root, app);
  },
  show() {
    view.open = true;
    view.under = null;
    view.room.append(view.app.controls.element);
    view.app.controls.fresh();
    view.soon();
    view.draw();
  },
  hide() {
    view.open = false;
  },
};
