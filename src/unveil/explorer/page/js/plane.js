// The latent plane: where the examples lie, how dense they lie, where the prior is; and the image of any point of it.

import { ticks } from "./chart.js";
import { h, latest, toggle } from "./dom.js";
import { face } from "./face.js";
import { density } from "./ground.js";
import { gestures } from "./lens.js";
import { savePng } from "./sheet.js";
import { colour, onTheme, theme, value } from "./theme.js";
import { timing } from "./timing.js";

const SIDE = 128; // points of the density's grid
const NEAR = 12; // CSS pixels within which the mouse is on an example
const LABEL = 30; // CSS pixels from the upper edge, below the axis's name, from where a contour's share is written
const SPOKEN = 400; // ms of rest before a screen reader is told

class PlaneView {
  constructor(root, app) {
    Object.assign(this, { root, app, sight: app.sight, hidden: new Set(), shown: { points: true, density: true, prior: true }, ground: null });
    this.below = h("canvas", { class: "layer", "aria-hidden": "true" });
    this.above = h("canvas", {
      class: "layer", tabindex: "0", role: "application", "aria-roledescription": "latent plane", id: "plane-canvas",
      "aria-label": "Latent plane. Arrow keys move the point that is decoded.", "aria-describedby": "plane-help",
    });
    this.tip = h("figure", { class: "tip", hidden: true }, [h("canvas", { "aria-hidden": "true" }), h("figcaption")]);
    this.square = h("div", { class: "square" }, [this.below, this.above, this.tip]);
    this.made = face(app, "What the model makes of this point");
    this.near = app.pictures ? face(app, "The nearest example") : null;
    this.where = h("output", { class: "where", for: "plane-canvas" });
    this.nearText = h("figcaption");
    root.append(h("div", { class: "board" }, [
      h("div", {}, [this.square, this.tools(), this.help()]),
      h("div", { class: "side" }, [this.faces(), this.legend(), this.layers(), this.place()]),
    ]));
    this.listen();
  }

  faces() {
    const { app } = this, why = app.latent.moves ? "" : this.still();
    return h("div", { class: "faces" }, [
      h("figure", { class: app.image ? "made" : "made wide" }, [this.made.element, h("figcaption", {}, [h("span", {}, app.image ? "Decoded here" : ""), this.where])]),
      h("figure", { class: app.image ? "near" : "near wide", hidden: !this.near && !app.labels().length }, [this.near && this.near.element, this.nearText]),
      why ? h("p", { class: "quiet wide" }, why) : null,
    ]);
  }

  /** Whether the points have a density: the spreads of a curved space are none along its directions. */
  get dense() {
    return this.app.points && this.app.latent.flat;
  }

  still() {
    const { model } = this.app;
    if (!model.can("decode")) return `Nothing is decoded: ${model.why("decode")}.`;
    if (!this.app.latent.ways.length) return "This model writes codes, and between two codes there is nothing: what is decoded is the nearest example.";
    return "This latent space is curved, and the plane shows it from one side only: what is decoded is the nearest example.";
  }

  legend() {
    const { app } = this, labels = app.labels();
    if (!labels.length) return null;
    const keys = labels.slice(0, 40).map((label) => {
      const dot = h("span", { class: "dot", "aria-hidden": "true" });
      onTheme(() => (dot.style.background = colour(label)));
      dot.style.background = colour(label);
      const key = toggle("", true, (on) => {
        if (on) this.hidden.delete(label);
        else this.hidden.add(label);
        this.paint();
      }, { class: "key" });
      key.append(dot, app.className(label));
      return key;
    });
    return h("div", { class: "legend", role: "group", "aria-label": "Classes that are shown" }, keys);
  }

  layers() {
    const names = { points: "Examples", density: "Their density", prior: "Prior" };
    const known = { points: this.app.points, density: this.dense, prior: this.app.latent.landscape.density };
    const change = (name) => (on) => {
      this.shown[name] = on;
      this.paint();
    };
    return h("div", { class: "bar", role: "group", "aria-label": "What is drawn" },
      Object.keys(names).filter((name) => known[name]).map((name) => toggle(names[name], true, change(name))));
  }

  /** Where the shared controls go. */
  place() {
    return (this.room = h("div", { class: "room" }));
  }

  tools() {
    const { lens } = this.sight, button = (text, label, act) => h("button", { type: "button", class: "plain", "aria-label": label, onclick: act }, text);
    return h("div", { class: "bar tools" }, [
      button("+", "Zoom in", () => lens.zoom(1.5)), button("−", "Zoom out", () => lens.zoom(1 / 1.5)), button("Whole", "The whole plane", () => lens.reset()),
      h("span", { class: "gap" }), button("Save PNG", "Save this plane as a PNG file", () => this.saved()),
    ]);
  }

  help() {
    const { app } = this, named = app.pictures || app.labels().length;
    const act = decodes(app) ? "decode" : named ? "find the nearest example" : "read where a point lies";
    const line = app.latent.size === 1 ? "There is one dimension: up and down only keep the examples apart. " : "";
    return h("p", { class: "quiet", id: "plane-help" },
      `${line}Drag to ${act}; scroll or pinch to zoom; hold shift, or use two fingers, to move the plane. Keys: arrows ${act}, shift and arrows move, + − zoom, 0 shows all.`);
  }

  listen() {
    const { sight } = this;
    gestures(this.above, sight.lens, {
      moved: (point) => this.moved(point),
      hovered: (point) => this.hovered(point),
      stepped: ([x, y]) => {
        const step = sight.lens.half / 25;
        this.moved([sight.at[0] + x * step, sight.at[1] + y * step]);
        this.spoken();
      },
    });
    this.decode = latest(() => this.decoded());
    sight.lens.listeners.push(() => this.soon());
    sight.heard((what) => {
      if (!this.open) return;
      if (what === "frame") this.paint();
      this.decode();
    });
    onTheme(() => this.open && this.paint()); // at once: a printer does not wait for a frame
    new ResizeObserver(() => this.soon()).observe(this.square);
  }

  moved(point) {
    this.begun = performance.now();
    this.sight.move(point);
  }

  /** Paints before the next frame, once. */
  soon() {
    if (this.waiting || !this.open) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.paint();
    });
  }

  async decoded() {
    const { app, sight } = this, begun = this.begun, z = sight.z();
    this.begun = undefined;
    const x = app.model.can("decode") && z ? await app.model.decode(z, 1, app.context(sight.label, 1)) : null;
    const answered = performance.now();
    await new Promise((done) => requestAnimationFrame(done));
    const drawing = performance.now();
    if (x) this.made.show(x);
    this.mark();
    this.around();
    if (begun !== undefined) timing.frames.push(answered - begun + performance.now() - drawing);
  }

  /** Says where one is, and which example is nearest. */
  around() {
    const { app, sight } = this, found = sight.nearest(sight.at, this.hidden);
    this.where.textContent = sight.said();
    if (!found) return;
    const label = app.points.labels ? app.className(app.points.labels[found.place]) : "";
    const drawn = this.near && found.place < app.pictures.count;
    this.nearText.textContent = label ? `Nearest example: ${label}` : this.near ? "Nearest example" : "";
    if (this.near) this.near.element.hidden = !drawn;
    if (drawn && this.drawn !== found.place) this.near.show(app.pictures.x(found.place));
    this.drawn = found.place;
  }

  spoken() {
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => this.app.say(`${this.where.textContent}. ${this.nearText.textContent}`), SPOKEN);
  }

  hovered(point) {
    const { app, sight, tip } = this, unit = (2 * sight.lens.half) / this.side;
    const found = point && this.shown.points ? sight.nearest(point, this.hidden, NEAR * unit) : null;
    tip.hidden = !found;
    if (this.over !== (found && found.place)) {
      this.over = found && found.place;
      this.mark();
    }
    if (!found) return;
    const [canvas, caption] = tip.children, { labels } = app.points, pictured = app.pictures && found.place < app.pictures.count;
    canvas.hidden = !pictured;
    if (pictured) app.show(canvas, app.pictures.x(found.place));
    caption.textContent = labels ? app.className(labels[found.place]) : `example ${found.place + 1}`;
    const [x, y] = sight.lens.pixel(this.spot(found.place), this.side);
    tip.style.left = `${x}px`;
    tip.style.top = `${y}px`;
    tip.classList.toggle("under", y < 120);
  }

  spot(place) {
    const { points } = this.sight.seen;
    return [points[2 * place], points[2 * place + 1]];
  }

  get side() {
    return this.square.clientWidth;
  }

  /** A canvas's context, in CSS pixels, cleared. */
  fresh(canvas) {
    const scale = window.devicePixelRatio || 1, side = Math.max(1, Math.round(this.side * scale));
    if (canvas.width !== side) canvas.width = canvas.height = side;
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, this.side, this.side);
    return context;
  }

  paint() {
    const context = this.fresh(this.below);
    if (this.shown.density && this.dense) this.paintDensity(context);
    this.paintAxes(context);
    if (this.shown.points) this.paintPoints(context);
    if (this.shown.prior) this.paintPrior(context);
    this.mark();
  }

  /** The density of the window that was last computed, where it lies now; anew once the plane rests. */
  paintDensity(context) {
    const { lens, seen } = this.sight, { x, y, half } = lens;
    const known = this.ground, same = known && known.frame === this.sight.frame;
    if (!same) this.surveyed();
    else if (known.x !== x || known.y !== y || known.half !== half) {
      clearTimeout(this.resting);
      this.resting = setTimeout(() => {
        this.surveyed();
        this.soon();
      }, 140);
    }
    const ground = this.ground;
    if (!seen.points.length) return;
    if (ground.theme !== theme()) this.tinted();
    const [left, top] = lens.pixel([ground.x - ground.half, ground.y + ground.half], this.side), size = (ground.half / half) * this.side;
    context.imageSmoothingQuality = "high";
    context.drawImage(ground.canvas, left, top, size, size);
  }

  surveyed() {
    const { lens: { x, y, half }, seen, frame } = this.sight;
    const values = density(seen.points, seen.spreads, { x, y, half }, SIDE);
    // the brightest of the whole plane, so that zooming changes no colours
    const most = this.ground && this.ground.frame === frame ? this.ground.most : values.reduce((a, b) => Math.max(a, b), 1e-30);
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = SIDE;
    this.ground = { x, y, half, frame, values, most, canvas, theme: null };
  }

  tinted() {
    const { ground } = this, [red, green, blue] = value("--density").match(/\d+/g).map(Number), picture = new ImageData(SIDE, SIDE);
    ground.values.forEach((value, at) => picture.data.set([red, green, blue, 200 * Math.min(1, value / ground.most) ** 0.5], 4 * at));
    ground.canvas.getContext("2d").putImageData(picture, 0, 0);
    ground.theme = theme();
  }

  paintAxes(context) {
    const { lens, frame } = this.sight, { side } = this, { x, y, half } = lens;
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = value("--quiet");
    context.strokeStyle = value("--line");
    context.lineWidth = 1;
    const [named, wide] = [frame.names[0], 36 + 6.6 * frame.names[0].length];
    const say = (tick) => String(tick).replace("-", "−");
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    for (const tick of ticks(x - half, x + half, 5)) {
      const [at] = lens.pixel([tick, 0], side);
      if (at > 24 && at < side - wide) context.fillText(say(tick), at, side - 8);
      line(context, [at, side], [at, side - 5]);
    }
    context.textAlign = "left";
    context.textBaseline = "middle";
    for (const tick of frame.names[1] ? ticks(y - half, y + half, 5) : []) {
      const [, at] = lens.pixel([0, tick], side);
      if (at > 34 && at < side - 24) context.fillText(say(tick), 9, at);
      line(context, [0, at], [5, at]);
    }
    context.font = "600 12px system-ui, sans-serif";
    context.textAlign = "right";
    context.textBaseline = "alphabetic";
    context.fillText(named, side - 10, side - 8);
    context.textAlign = "left";
    context.textBaseline = "top";
    context.fillText(frame.names[1] || "", 9, 10);
  }

  paintPoints(context) {
    const { lens, seen } = this.sight, labels = this.app.points && this.app.points.labels;
    const radius = Math.min(4.5, 2 * Math.sqrt(lens.home.half / lens.half)), colours = new Map();
    context.globalAlpha = 0.75;
    for (let place = 0; place < seen.points.length / 2; place++) {
      const label = labels ? labels[place] : null;
      if (this.hidden.has(label)) continue;
      const [x, y] = lens.pixel(this.spot(place), this.side);
      if (x < -9 || y < -9 || x > this.side + 9 || y > this.side + 9) continue;
      if (!colours.has(label)) colours.set(label, colour(label));
      context.fillStyle = colours.get(label);
      context.beginPath();
      context.arc(x, y, radius, 0, 7);
      context.fill();
    }
    context.globalAlpha = 1;
  }

  paintPrior(context) {
    const { lens, contours } = this.sight;
    context.strokeStyle = context.fillStyle = value("--contour");
    context.lineWidth = 1.25;
    context.lineCap = "round"; // the lines come in pieces
    context.font = "600 11px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    const written = []; // labels that would lie on each other are left out
    for (const { share, lines } of [...contours].reverse()) {
      let top = [0, Infinity]; // the highest place that is seen, where the share is written
      context.beginPath();
      for (const one of lines) {
        one.forEach((point, at) => {
          const pixel = lens.pixel(point, this.side);
          context[at ? "lineTo" : "moveTo"](...pixel);
          if (pixel[1] > LABEL && pixel[1] < top[1] && pixel[0] > 0 && pixel[0] < this.side) top = pixel;
        });
      }
      context.stroke();
      if (top[1] > this.side || written.some(([x, y]) => Math.abs(x - top[0]) < 34 && Math.abs(y - top[1]) < 12)) continue;
      written.push(top);
      context.save();
      context.strokeStyle = value("--paper");
      context.lineWidth = 4;
      context.lineJoin = "round";
      context.strokeText(`${100 * share} %`, ...top);
      context.fillText(`${100 * share} %`, ...top);
      context.restore();
    }
  }

  /** Where one stands, and the example under the mouse. */
  mark() {
    const context = this.fresh(this.above), { lens, at } = this.sight;
    if (this.over !== null && this.over !== undefined) ring(context, lens.pixel(this.spot(this.over), this.side), 6, value("--ink"), 1.5);
    const here = lens.pixel(at, this.side);
    ring(context, here, 9, value("--paper"), 5);
    ring(context, here, 9, value("--accent"), 2.5);
    context.beginPath();
    context.arc(...here, 2.5, 0, 7);
    context.fillStyle = value("--accent");
    context.fill();
  }

  saved() {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = this.below.width;
    const context = canvas.getContext("2d");
    context.fillStyle = value("--paper");
    context.fillRect(0, 0, canvas.width, canvas.height);
    for (const layer of [this.below, this.above]) context.drawImage(layer, 0, 0);
    savePng(canvas, "latent-plane.png");
  }
}

function line(context, from, to) {
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(...to);
  context.stroke();
}

function ring(context, at, radius, style, width) {
  context.beginPath();
  context.arc(...at, radius, 0, 7);
  context.strokeStyle = style;
  context.lineWidth = width;
  context.stroke();
}

/** Whether any point of the plane can be decoded and seen. */
function decodes({ image, know, latent, model }) {
  return latent.moves && model.can("decode") && Boolean(image || know.facts.data.measure !== "columns");
}

let view = null;

export const plane = {
  id: "plane",
  title: "Plane",
  about: "The model writes each example down as a few numbers; here every example is a point at its numbers, and alike ones lie near each other.",
  mount(root, app) {
    view = new PlaneView(root, app);
  },
  show() {
    view.open = true;
    view.room.append(view.app.controls.element);
    view.app.controls.fresh();
    view.paint();
    view.around();
    view.decode();
  },
  hide() {
    view.open = false;
  },
};
