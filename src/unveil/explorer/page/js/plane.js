// The latent plane: every example as a point, and the model's picture of wherever one points.

import { axisMenus, sliders } from "./axes.js";
import { h, latest, toggle } from "./dom.js";
import { ground, shade } from "./ground.js";
import { gestures, Lens } from "./lens.js";
import { colour, onTheme, value } from "./theme.js";
import { timing } from "./timing.js";

const NEAR = 9; // pixels within which the mouse is at a point
const KEY = 1 / 40; // of the side, by an arrow key

/** The red, green and blue of a colour such as '#3451b2'. */
const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

class Plane {
  constructor(root, app) {
    Object.assign(this, { root, app, z: Float32Array.from(app.latent.center), label: 0, hidden: new Set(), dirty: true, moving: false });
    this.what = { density: true, contours: true, points: true };
    this.lens = new Lens(app.latent.landscape.box);
    this.back = h("canvas", { class: "layer", "aria-hidden": "true" });
    this.front = h("canvas", {
      class: "layer", tabindex: "0", role: "application", "aria-label":
        "Latent plane. Arrows move the point, plus and minus zoom, shift with arrows pans, 0 shows all.",
    });
    this.image = h("canvas", { class: "decoded", role: "img", "aria-label": "What the model makes of this point" });
    this.where = h("p", { class: "where quiet" });
    this.tip = h("div", { class: "tip", hidden: true, "aria-hidden": "true" });
    this.slide = app.latent.size > 2 && app.latent.dimensions.length ? sliders(app, (index, number) => this.slid(index, number)) : null;
    this.build();
    this.locate();
    this.decode = latest(() => this.decoded());
    this.listen();
  }

  build() {
    const { app } = this;
    const layers = [["points", "Examples"], ["density", "Density of the data"], ["contours", "Prior"]].filter(([key]) => key !== "points" || app.points);
    const square = h("div", { class: "square" }, [this.back, this.front, this.tip]);
    const zoom = [["+", "Zoom in", () => this.lens.zoom(1.4)], ["−", "Zoom out", () => this.lens.zoom(1 / 1.4)], ["All", "Show all", () => this.lens.reset()]];
    square.append(h("div", { class: "zoom" }, zoom.map(([text, label, onclick]) => h("button", { type: "button", class: "plain", "aria-label": label, onclick }, text))));
    const controls = h("div", { class: "row" }, layers.map(([key, text]) => toggle(text, true, (on) => {
      this.what[key] = on;
      this.stale();
    })));
    const side = h("div", { class: "aside" }, [
      h("figure", { class: "decode" }, [app.image ? this.image : null, this.where]),
      app.classChoice((label) => {
        this.label = label;
        this.decode();
      }),
      axisMenus(app, () => {
        this.locate();
        this.lens.reset();
      }),
      this.slide && this.slide.element,
    ]);
    const names = h("p", { class: "quiet names" });
    this.names = names;
    const hint = h("p", { class: "quiet" }, "Drag anywhere to move the point. Wheel or pinch zooms; two fingers, or shift and drag, pan.");
    this.root.append(h("div", { class: "split" }, [h("div", { class: "wide" }, [square, names, controls, this.legend(), hint]), side]));
  }

  legend() {
    const labels = this.app.labels();
    if (!labels.length || labels.length > 30) return null;
    this.swatches = labels.map((label) => {
      const swatch = h("span", { class: "swatch" });
      const button = toggle([swatch, this.app.className(label)], true, (on) => {
        this.hidden[on ? "delete" : "add"](label);
        this.stale();
      }, { class: "toggle legend-entry" });
      return { label, swatch, button };
    });
    return h("div", { class: "row legend", role: "group", "aria-label": "Classes shown" }, this.swatches.map(({ button }) => button));
  }

  /** Where the examples are on the plane as it is looked at now. */
  locate() {
    const { app } = this, { points } = app, size = app.latent.size;
    const places = new Float32Array(points ? 2 * points.count : 0);
    for (let at = 0; at < places.length / 2; at++) places.set(app.project(points.mean, at * size), 2 * at);
    this.places = places;
    this.names.textContent = `Across: ${app.latent.plane.names[0]}. Up: ${app.latent.plane.names[1]}.`;
    this.stale();
  }

  listen() {
    this.lens.listeners.push(() => this.stale());
    onTheme(() => this.recolour());
    this.recolour();
    gestures(this.front, this.lens, {
      moved: this.app.latent.moves ? (point) => this.to(point) : null,
      hovered: (point) => this.hover(point),
      stepped: ([x, y]) => {
        const here = this.app.project(this.z), step = 2 * this.lens.half * KEY;
        this.to([here[0] + x * step, here[1] + y * step], true);
      },
    });
    new ResizeObserver(() => this.stale()).observe(this.front);
  }

  recolour() {
    this.what.shade = shade(this.app.latent.landscape, rgb(value("--density")));
    for (const { label, swatch } of this.swatches || []) swatch.style.background = colour(label);
    this.stale();
  }

  to(point, told = false) {
    this.z = this.app.lift(point, this.z);
    if (this.slide) this.slide.set(this.z);
    this.moved(told);
  }

  slid(index, number) {
    this.z[index] = number;
    this.moved(false);
  }

  moved(told) {
    this.fresh();
    this.decode();
    const [x, y] = this.app.project(this.z);
    this.where.textContent = `${x.toFixed(2)} across, ${y.toFixed(2)} up`;
    if (told) this.app.say(this.where.textContent);
  }

  async decoded() {
    const { app } = this;
    if (!app.image || !app.latent.moves) return;
    await app.model.ready;
    const x = await app.model.decode(Float32Array.from(this.z), 1, app.context(this.label, 1));
    app.show(this.image, x);
    this.image.dataset.count = Number(this.image.dataset.count || 0) + 1;
  }

  hover(point) {
    const { app } = this, side = this.front.clientWidth;
    this.tip.hidden = true;
    if (!point || !this.what.points || !app.points) return;
    const [x, y] = this.lens.pixel(point, side), count = app.pictures ? app.pictures.count : app.points.count;
    let best = -1, least = NEAR * NEAR;
    for (let at = 0; at < count; at++) {
      if (app.points.labels && this.hidden.has(app.points.labels[at])) continue;
      const [px, py] = this.lens.pixel([this.places[2 * at], this.places[2 * at + 1]], side);
      const away = (px - x) ** 2 + (py - y) ** 2;
      if (away < least) [best, least] = [at, away];
    }
    if (best < 0) return;
    const label = app.points.labels ? app.className(app.points.labels[best]) : "";
    const canvas = app.pictures ? h("canvas", {}) : null;
    if (canvas) app.show(canvas, app.pictures.x(best));
    this.tip.replaceChildren(...[canvas, h("span", {}, label)].filter(Boolean));
    this.tip.style.left = `${Math.min(x + 12, side - 96)}px`;
    this.tip.style.top = `${Math.max(4, y - 96)}px`;
    this.tip.hidden = false;
  }

  stale() {
    this.dirty = true;
    this.fresh();
  }

  fresh() {
    if (this.moving) return;
    this.moving = true;
    requestAnimationFrame(() => {
      const begun = performance.now();
      this.moving = false;
      this.paint();
      timing.frames.push(performance.now() - begun);
    });
  }

  paint() {
    const side = this.front.clientWidth, scale = window.devicePixelRatio || 1;
    if (!side) return;
    const [back, front] = [this.back, this.front].map((canvas) => {
      const pixels = Math.round(side * scale);
      if (canvas.width !== pixels) {
        canvas.width = canvas.height = pixels;
        this.dirty = true;
      }
      const context = canvas.getContext("2d");
      context.setTransform(scale, 0, 0, scale, 0, 0);
      return context;
    });
    if (this.dirty) ground(back, side, this.lens, this.app, { ...this.what, ...this.known(), hidden: this.hidden, places: this.places });
    this.dirty = false;
    front.clearRect(0, 0, side, side);
    if (this.app.latent.moves) this.cross(front, this.lens.pixel(this.app.project(this.z), side));
  }

  /** Density and contours are known for the page's own directions alone. */
  known() {
    const { plane } = this.app.latent;
    return plane.own === false ? { density: false, contours: false } : {};
  }

  cross(context, [x, y]) {
    for (const [style, width] of [[value("--paper"), 5], [value("--accent"), 2.5]]) {
      context.strokeStyle = style;
      context.lineWidth = width;
      context.beginPath();
      context.arc(x, y, 9, 0, 2 * Math.PI);
      context.stroke();
    }
  }
}

let made = null;

export const plane = {
  id: "plane",
  title: "Plane",
  about: "The model has learned to place every example on a map, alike beside alike: move over the map, and it draws what belongs there, also where no example ever was.",
  mount(root, app) {
    made = new Plane(root, app);
    if (!app.latent.moves) {
      root.prepend(h("p", { class: "missing" }, "This model's latent values are no points of a flat space, so nothing between the examples can be drawn; where the examples lie is shown as it is."));
    }
    made.moved(false);
  },
  show() {
    made.stale();
  },
};
