// The manifold: what the model makes of each point of the plane, side by side, redrawn as one zooms.

import { h, latest } from "./dom.js";
import { gestures, Lens } from "./lens.js";
import { savePng } from "./sheet.js";
import { onTheme } from "./theme.js";

const MOST = 18, FEWEST = 8; // pictures along a side
const WIDE = 36; // CSS pixels that a picture has at least

class Manifold {
  constructor(root, app) {
    Object.assign(this, { root, app, label: 0, lens: new Lens(app.latent.landscape.box) });
    const half = 0.62 * this.lens.home.half; // about where the prior has its mass
    this.lens.home.half = this.lens.half = half;
    this.canvas = h("canvas", {
      class: "manifold", tabindex: "0", role: "application",
      "aria-label": "Manifold of decoded points. Arrows pan, plus and minus zoom, 0 shows all.",
    });
    this.where = h("p", { class: "quiet" });
    const buttons = [["+", "Zoom in", () => this.lens.zoom(1.4)], ["−", "Zoom out", () => this.lens.zoom(1 / 1.4)], ["All", "Show all", () => this.lens.reset()]];
    root.append(h("div", { class: "wide alone" }, [
      h("div", { class: "square" }, [this.canvas, h("div", { class: "zoom" }, buttons.map(([text, label, onclick]) => h("button", { type: "button", class: "plain", "aria-label": label, onclick }, text)))]),
      this.where,
      h("div", { class: "row" }, [
        app.classChoice((label) => {
          this.label = label;
          this.draw();
        }),
        h("button", { type: "button", onclick: () => savePng(this.canvas, "manifold.png") }, "Save as PNG"),
      ]),
      h("p", { class: "quiet" }, "Drag to pan, wheel or pinch to zoom."),
    ]));
    this.draw = latest(() => this.drawn());
    this.lens.listeners.push(() => this.draw());
    onTheme(() => this.draw());
    gestures(this.canvas, this.lens, { stepped: (arrow) => this.lens.pan(arrow.map((step) => 0.2 * step * this.lens.half)) });
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  async drawn() {
    const { app, lens } = this, side = this.canvas.clientWidth;
    if (!side) return;
    await app.model.ready;
    const n = Math.max(FEWEST, Math.min(MOST, Math.floor(side / WIDE))), size = app.latent.size;
    const z = new Float32Array(n * n * size), { x, y, half } = lens;
    for (let row = 0; row < n; row++) {
      for (let column = 0; column < n; column++) {
        const point = [x + ((2 * column + 1) / n - 1) * half, y - ((2 * row + 1) / n - 1) * half];
        z.set(app.lift(point), (row * n + column) * size);
      }
    }
    const found = await app.model.decode(z, n * n, app.context(this.label, n * n));
    this.paint(found, n);
    this.where.textContent = `From ${(x - half).toFixed(2)} to ${(x + half).toFixed(2)} across and from ${(y - half).toFixed(2)} to ${(y + half).toFixed(2)} up; ${n} × ${n} pictures.`;
  }

  paint(x, n) {
    const { shape: [, height, width] } = this.app.image, each = x.length / (n * n);
    this.canvas.width = n * width;
    this.canvas.height = n * height;
    const context = this.canvas.getContext("2d");
    for (let at = 0; at < n * n; at++) {
      context.putImageData(this.app.picture(x, at * each), (at % n) * width, Math.floor(at / n) * height);
    }
    this.canvas.dataset.count = Number(this.canvas.dataset.count || 0) + 1;
  }
}

let made = null;

export const manifold = {
  id: "manifold",
  title: "Manifold",
  about: "Each picture is what the model draws for its own spot on the map: zoom in, and you see one kind of thing turn into another.",
  missing: (app) => {
    if (!app.image) return "This model was trained on no images, so there is nothing to draw.";
    return app.latent.moves ? "" : "This model's latent values are no points of a flat space, so there is no plane to walk over.";
  },
  mount(root, app) {
    made = new Manifold(root, app);
  },
  show() {
    made.draw();
  },
};
