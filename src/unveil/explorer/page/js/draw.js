// Draw: what a person draws goes through the model while it is being drawn.

import { h, latest } from "./dom.js";
import { ellipse } from "./ellipse.js";
import { Evidence } from "./evidence.js";
import { fromPixels, fromStrokes, handwritten } from "./given.js";
import { Little } from "./little.js";
import { Neighbours } from "./neighbours.js";
import { pen } from "./pen.js";
import { decoded, imageOf } from "./picture.js";
import { onTheme, value } from "./theme.js";

const SHOWN = 80; // draws that stand on the plane as dots

/** The view's elements, state, and what happens between them. */
class Draw {
  constructor(root, app) {
    Object.assign(this, { app, label: 0, file: null, now: null, asked: 0 });
    this.image = { ...app.image, ink: handwritten(app) };
    this.evidence = new Evidence(app, () => this.changed());
    this.neighbours = new Neighbours(app);
    this.canvas = h("canvas", { class: app.image.ink ? "pad" : "pad night", role: "application", "aria-label": "Drawing pad", "aria-describedby": "pad-how" });
    this.plane = h("canvas", { class: "little", role: "img", "aria-label": "Latent plane, empty" });
    this.zoomed = h("canvas", { class: "little", role: "img", "aria-label": "Close up of the latent plane around the drawing" });
    this.seen = h("canvas", { class: "pixels", role: "img", "aria-label": "What the model sees" });
    this.made = h("canvas", { class: "pixels", role: "img", "aria-label": "What the model makes of it" });
    this.note = h("p", { class: "quiet" });
    this.follow = latest(() => this.computed());
    root.append(h("div", { class: "studio" }, [this.left(), this.middle(), this.right()]));
    this.pen = pen(this.canvas, () => this.stroked(), (text) => app.say(text));
    this.little = new Little(this.plane, app, (marks) => this.mark(marks));
    this.close = new Little(this.zoomed, app, (marks) => this.mark(marks), { size: 4 });
    onTheme(() => this.pen.paint());
    this.files(root);
    this.changed();
  }

  left() {
    const choose = h("input", { type: "file", accept: "image/*", class: "unseen", tabindex: "-1", "aria-hidden": "true" });
    choose.addEventListener("change", () => this.taken(choose));
    this.invert = h("input", { type: "checkbox", id: "invert" });
    this.invert.addEventListener("change", () => this.changed());
    this.inverting = h("label", { class: "check", for: "invert", hidden: true }, [this.invert, "Swap light and dark"]);
    return h("div", {}, [
      h("div", { class: "frame" }, [this.canvas]),
      h("div", { class: "row" }, [
        h("button", { type: "button", onclick: () => this.pen.undo() }, "Undo"),
        h("button", { type: "button", onclick: () => this.clear() }, "Clear"),
        h("button", { type: "button", onclick: () => choose.click() }, "Open an image…"), choose,
        this.app.classChoice((label) => {
          this.label = label;
          this.changed();
        }),
      ]),
      this.inverting, this.note,
      h("p", { class: "quiet", id: "pad-how" }, "Draw here, or drop or paste an image. By keyboard: arrows move the pen, space puts it down and lifts it."),
    ]);
  }

  middle() {
    this.legend = h("p", { class: "quiet" }, "");
    this.closer = h("figure", { hidden: true }, [h("div", { class: "frame" }, [this.zoomed]), h("figcaption", {}, "Close up")]);
    return h("div", {}, [h("div", { class: "frame" }, [this.plane]), h("div", { class: "beside" }, [this.closer, this.legend])]);
  }

  right() {
    this.found = h("div", { "aria-busy": "false" }, [
      h("div", { class: "pair" }, [
        h("figure", {}, [this.seen, h("figcaption", {}, "What the model sees")]),
        h("figure", {}, [this.made, h("figcaption", {}, "What it makes of it")]),
      ]),
      this.neighbours.element, this.evidence.element,
    ]);
    return this.found;
  }

  /** Files come by a drop anywhere in the view, or from the clipboard. */
  files(root) {
    root.addEventListener("dragover", (event) => event.preventDefault());
    root.addEventListener("drop", (event) => {
      event.preventDefault();
      this.taken(event.dataTransfer);
    });
    document.addEventListener("paste", (event) => {
      if (root.offsetParent && imageOf(event.clipboardData)) this.taken(event.clipboardData);
    });
  }

  async taken(transfer) {
    const file = imageOf(transfer);
    if (!file) return;
    try {
      const pixels = await decoded(file);
      this.pen.set([]);
      this.file = pixels;
      const { inverted } = fromPixels(pixels, this.image);
      this.invert.checked = inverted;
      this.note.textContent = `Showing ${file.name || "the pasted image"}.`;
      this.changed();
    } catch (error) {
      this.note.textContent = error.message;
      this.app.say(error.message);
    }
  }

  stroked() {
    if (this.pen && this.pen.strokes.length) {
      this.file = null;
      this.note.textContent = "";
    }
    if (this.pen) this.changed();
  }

  clear() {
    this.file = null;
    this.note.textContent = "";
    this.pen.clear();
  }

  x() {
    if (this.file) return fromPixels(this.file, this.image, this.invert.checked).x;
    return this.pen.strokes.length ? fromStrokes(this.pen.strokes, this.image) : null;
  }

  changed() {
    this.asked++;
    this.inverting.hidden = !this.file;
    this.found.setAttribute("aria-busy", "true");
    return this.follow();
  }

  async computed() {
    const asked = this.asked, x = this.x();
    if (x) await this.passed(x);
    else this.now = null;
    this.shown();
    if (asked === this.asked) this.found.setAttribute("aria-busy", "false");
  }

  /** Sends x through the model. */
  async passed(x) {
    const { app } = this;
    app.show(this.seen, x);
    const context = () => app.context(this.label, 1);
    const { mean, scale } = await app.model.encode(x, 1, context());
    this.now = { mean, scale, draws: this.now ? this.now.draws : null };
    if (app.model.can("decode")) app.show(this.made, await app.model.decode(mean, 1, context()));
    this.neighbours.near(mean);
    this.shown();
    const draws = await this.evidence.weighed(x, context());
    this.now.draws = draws;
  }

  /** What stands on the page, from what is known now. */
  shown() {
    const { now } = this;
    if (!now) {
      for (const canvas of [this.seen, this.made]) canvas.width = canvas.width || 1;
      this.neighbours.empty();
      this.evidence.empty();
    }
    this.plane.setAttribute("aria-label", now ? `Latent plane: the drawing lies at ${this.app.project(now.mean).map((one) => one.toFixed(2)).join(", ")}` : "Latent plane, empty");
    const dots = this.app.points ? "The coloured dots are examples. " : "";
    this.legend.textContent = now
      ? `${dots}The drawing lies at the ring; ${this.flat() ? "the ellipse holds 95 % of where the model thinks it may lie, and " : ""}the small dots are the draws that the estimate rests on.`
      : `${dots}Draw something to see where it lies among them.`;
    this.little.reach(now && this.app.project(now.mean));
    this.little.paint();
    this.closer.hidden = !now || !this.flat();
    if (!this.closer.hidden) this.approach();
  }

  /** Looks from near at where the drawing lies. */
  approach() {
    const { lens } = this.close, { plane } = this.app.latent;
    [lens.x, lens.y] = this.app.project(this.now.mean);
    lens.half = 2.2 * ellipse([...this.now.scale], plane.axes).across;
    this.close.paint();
  }

  /** Whether an ellipse says what the posterior is. */
  flat() {
    return this.app.latent.flat;
  }

  mark(marks) {
    if (!this.now) return;
    const { app } = this, { size, plane } = app.latent, middle = app.project(this.now.mean);
    for (let at = 0; this.now.draws && at < Math.min(SHOWN, this.now.draws.length / size); at++) {
      marks.dot(app.project(this.now.draws, at * size), 1.7, value("--ink"));
    }
    if (this.flat()) marks.ellipse(middle, ellipse([...this.now.scale], plane.axes), value("--accent"));
    if (marks.little === this.close) return;
    marks.ring(middle, 7, value("--paper"), 5);
    marks.ring(middle, 7, value("--accent"), 2.5);
  }
}

export const draw = {
  id: "draw",
  title: "Draw",
  about: "Draw something: the model finds its place among all that it has learnt, and draws it again from that place alone.",
  missing(app) {
    if (!app.image) return "This model's data are no images, so there is nothing to draw.";
    return app.model.can("encode") ? "" : `A drawing cannot be read here: ${app.model.why("encode")}.`;
  },
  mount(root, app) {
    this.view = new Draw(root, app);
  },
  show() {
    this.view.pen.paint();
    this.view.shown();
  },
};
