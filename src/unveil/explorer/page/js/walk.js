// Walk: points that a person picks, and the pictures on the way from one to the next.

import { route, wayOf } from "./between.js";
import { choice, h, labelled, latest } from "./dom.js";
import { Film } from "./film.js";
import { Little } from "./little.js";
import { lay, savePng } from "./sheet.js";
import { onTheme, value } from "./theme.js";

const STEPS = 24; // from one point to the next
const SKIPPED = 3; // the strip has every third of them
const MOST = 8; // points
const OFFERED = 20; // examples to pick from at a time

const WAYS = { straight: "Straight", spherical: "Along the sphere", geodesic: "Along the geodesic" };

class Walk {
  constructor(root, app) {
    Object.assign(this, { app, stops: [], label: 0, closed: false, offered: 0, path: [], here: 0 });
    this.way = wayOf(app.latent.ways[0]);
    this.plane = h("canvas", { class: "little", role: "application", "aria-label": "Latent plane. Arrows move a cursor, Enter puts a point there." });
    this.strip = h("canvas", { class: "pixels strip", role: "img" });
    this.chips = h("ol", { class: "chips" });
    this.thumbs = h("div", { class: "thumbs", role: "group", "aria-label": "Examples to walk to" });
    this.film = new Film((at) => this.reached(at));
    root.append(h("div", { class: "studio two" }, [this.left(), this.right()]));
    this.little = new Little(this.plane, app, (marks) => this.mark(marks), {
      picked: (point) => this.pick(point),
      held: () => (app.latent.moves ? this.stops.map(({ z }) => app.project(z)) : []),
      moved: (at, point) => this.drag(at, point),
    });
    this.follow = latest(() => this.computed());
    onTheme(() => this.follow());
    this.offer();
    this.begin();
  }

  left() {
    const { moves } = this.app.latent;
    return h("div", {}, [
      h("div", { class: "frame" }, [this.plane]),
      h("p", { class: "quiet" }, moves
        ? "Click or tap to add a point, drag one to move it. By keyboard: arrows, then Enter."
        : "The map shows this latent space from one side only: pick examples to walk between."),
      this.app.pictures ? h("h3", {}, "Or walk to an example") : null, this.thumbs,
      this.app.pictures ? h("div", { class: "row" }, [h("button", { type: "button", onclick: () => this.offer() }, "Other examples")]) : null,
    ]);
  }

  right() {
    const { ways } = this.app.latent;
    const way = choice(ways.map(({ name }) => [name, WAYS[name]]), (chosen) => this.set("way", wayOf(ways.find(({ name }) => name === chosen))));
    const closed = h("input", { type: "checkbox", id: "closed" });
    closed.addEventListener("change", () => this.set("closed", closed.checked));
    return h("div", {}, [
      this.film.element, this.chips,
      h("div", { class: "row" }, [
        ways.length > 1 ? labelled("Way", way) : null,
        this.app.classChoice((label) => this.set("label", label)),
        h("label", { class: "check", for: "closed" }, [closed, "Back to the start"]),
        h("button", { type: "button", onclick: () => this.clear() }, "Start over"),
      ]),
      this.strip,
      h("div", { class: "row" }, [
        h("button", { type: "button", onclick: () => this.saved(() => savePng(this.strip, "walk.png")) }, "Save as PNG"),
        h("button", { type: "button", onclick: () => this.saved(() => this.film.saveGif("walk.gif")) }, "Save as GIF"),
      ]),
    ]);
  }

  set(name, to) {
    this[name] = to;
    this.follow();
  }

  saved(act) {
    if (this.path.length) act();
  }

  /** Two examples that differ, or two points of the plane, so that there is something to see at once. */
  begin() {
    const { app } = this, { points, latent } = app;
    if (points && app.pictures) {
      const last = points.labels ? points.labels.lastIndexOf(points.labels[app.pictures.count - 1], app.pictures.count - 1) : 1;
      this.example(0);
      this.example(last);
    } else if (latent.moves) {
      const reach = 0.5 * this.little.lens.half;
      this.pick([-reach, 0]);
      this.pick([reach, 0]);
    }
  }

  /** Examples to pick from, of each class in turn. */
  offer() {
    const { app } = this;
    if (!app.pictures) return;
    const labels = app.points.labels || [], kinds = new Map();
    for (let at = 0; at < app.pictures.count; at++) {
      const kind = labels[at] ?? 0;
      kinds.set(kind, [...(kinds.get(kind) || []), at]);
    }
    const each = Math.max(1, Math.floor(OFFERED / kinds.size)), round = this.offered++;
    const chosen = [...kinds.values()].flatMap((rows) => Array.from({ length: each }, (_, at) => rows[(round * each + at) % rows.length]));
    this.thumbs.replaceChildren(...chosen.slice(0, OFFERED).map((at) => this.thumb(at)));
  }

  thumb(at) {
    const { app } = this, name = app.points.labels ? app.className(app.points.labels[at]) : `example ${at + 1}`;
    const canvas = h("canvas", { class: "pixels" });
    app.show(canvas, app.pictures.x(at));
    return h("button", { type: "button", class: "thumb", "aria-label": `Walk to this ${name}`, onclick: () => this.example(at) }, [canvas]);
  }

  example(at) {
    const { app } = this, { size } = app.latent, label = app.points.labels ? app.className(app.points.labels[at]) : "";
    this.add(app.points.mean.slice(at * size, (at + 1) * size), label ? `a ${label}` : `example ${at + 1}`);
  }

  pick(point) {
    if (!this.app.latent.moves) {
      this.app.say("Pick an example instead.");
      return;
    }
    this.add(this.app.lift(point), `${point[0].toFixed(1)}, ${point[1].toFixed(1)}`);
  }

  add(z, name) {
    if (this.stops.length === MOST) this.stops.shift();
    this.stops.push({ z, name });
    this.app.say(`Point ${this.stops.length}: ${name}`);
    this.follow();
  }

  drag(at, point) {
    this.stops[at] = { z: this.app.lift(point, this.stops[at].z), name: `${point[0].toFixed(1)}, ${point[1].toFixed(1)}` };
    this.follow();
  }

  remove(at) {
    this.stops.splice(at, 1);
    this.follow();
  }

  clear() {
    this.stops = [];
    this.follow();
  }

  chip({ name }, at) {
    const away = h("button", { type: "button", class: "plain", "aria-label": `Remove point ${at + 1}, ${name}`, onclick: () => this.remove(at) }, "×");
    return h("li", {}, [h("span", {}, `${at + 1}: ${name}`), away]);
  }

  async computed() {
    const { app, stops } = this;
    this.chips.replaceChildren(...stops.map((stop, at) => this.chip(stop, at)));
    this.path = stops.length > 1 ? route(stops.map(({ z }) => Array.from(z)), STEPS, this.way, this.closed) : [];
    this.little.paint();
    this.strip.hidden = this.film.element.hidden = !this.path.length;
    if (!this.path.length) {
      this.film.pause();
      return;
    }
    const z = Float32Array.from(this.path.flat()), n = this.path.length;
    const x = await app.model.decode(z, n, app.context(this.label, n)), each = x.length / n;
    this.show(Array.from({ length: n }, (_, at) => app.picture(x, at * each)));
  }

  /** pictures: one for each step of the way. A way that does not return to its start is walked back again. */
  show(pictures) {
    const n = pictures.length, picked = pictures.map((_, at) => at).filter((at) => at % STEPS === 0);
    const back = this.closed ? [] : pictures.map((_, at) => at).reverse().slice(1, -1);
    this.order = [...pictures.map((_, at) => at), ...back];
    this.film.load(this.order.map((at) => pictures[at]), this.order.flatMap((at, place) => (picked.includes(at) ? [place] : [])));
    const legs = this.closed ? this.stops.length : this.stops.length - 1, across = STEPS / SKIPPED + 1;
    const strip = Array.from({ length: legs * across }, (_, at) => {
      const leg = Math.floor(at / across), step = (at % across) * SKIPPED;
      return pictures[(leg * STEPS + step) % n];
    });
    const scale = Math.max(1, Math.round(84 / pictures[0].width));
    lay(this.strip, strip, { columns: across, scale, gap: 4, ground: this.app.image.ink ? "#fff" : value("--paper") });
    this.strip.setAttribute("aria-label", `The way from ${this.stops.map(({ name }) => name).join(" to ")}, ${across} pictures from each to the next`);
    this.strip.dataset.count = Number(this.strip.dataset.count || 0) + 1;
  }

  reached(at) {
    this.here = this.order[at];
    if (this.little) this.little.paint();
  }

  mark(marks) {
    const { app } = this, path = this.path.map((z) => app.project(z));
    if (path.length) marks.line(this.closed ? [...path, path[0]] : path, value("--ink"), 1.5);
    this.stops.forEach(({ z }, at) => {
      marks.dot(app.project(z), 10, value("--accent"));
      marks.text(app.project(z), String(at + 1), value("--on-accent"));
    });
    const stands = this.here % STEPS === 0; // at a point that was picked, which is marked already
    if (!path[this.here] || stands) return;
    marks.dot(path[this.here], 8, value("--paper"));
    marks.dot(path[this.here], 5.5, value("--ink"));
  }
}

export const walk = {
  id: "walk",
  title: "Walk",
  about: "Pick two or more places on the map and walk from one to the next: what the model draws on the way is what it believes to lie between them.",
  missing(app) {
    if (!app.image) return "This model's data are no images, so there is nothing to see on the way.";
    if (!app.latent.ways.length) return "This model's latent values are codes, and between two codes there is nothing.";
    return app.model.can("decode") ? "" : `Nothing can be drawn here: ${app.model.why("decode")}.`;
  },
  mount(root, app) {
    this.view = new Walk(root, app);
  },
  show() {
    this.view.little.paint();
    this.view.film.begin();
  },
  hide() {
    this.view.film.pause();
  },
};
