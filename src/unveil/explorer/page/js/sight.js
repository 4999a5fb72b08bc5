// What is looked at, the same for every view that shows a plane: which two directions of the latent space lie on the
// screen, how far in, at which of its points one stands, where all other dimensions are held, and of which class.

import { bytes } from "./bytes.js";
import { lifted, pair, projected, within } from "./frame.js";
import { contours, counted } from "./ground.js";
import { Lens } from "./lens.js";

const DRAWS = 8000; // of the prior, for contours that the page does not bring with it

const GOLDEN = (Math.sqrt(5) - 1) / 2; // its multiples lie evenly between whole numbers

/** The prior's density that the page brings with it, as a field. */
function surveyed({ box: [left, bottom, right], side, density }) {
  return { values: Float32Array.from(new Uint16Array(bytes(density).buffer)), side, low: [left, bottom], step: (right - left) / (side - 1) };
}

export class Sight {
  constructor(app) {
    const { plane, landscape, center } = app.latent;
    Object.assign(this, { app, frame: plane, at: null, label: 0, listeners: [], kept: new Map() });
    this.lens = new Lens(landscape.box);
    this.held = Float32Array.from(center);
    this.kept.set("principal", { frame: plane, box: landscape.box, contours: landscape.density ? contours(surveyed(landscape)) : [] });
    this.at = this.first();
  }

  /** Calls `act(what)` after a change: "frame", "at" or "held". */
  heard(act) {
    this.listeners.push(act);
  }

  told(what) {
    this.listeners.forEach((act) => act(what));
  }

  /** Where one stands at first: at the example in the middle of its class, as between examples there may be nothing. */
  first() {
    const { points } = this.app;
    if (!points) return [0, 0];
    const { labels } = points, seen = this.seen.points, alike = [];
    for (let place = 0; place < points.count; place++) if (labels && labels[place] === labels[0]) alike.push(place);
    const middle = [0, 1].map((axis) => alike.reduce((sum, place) => sum + seen[2 * place + axis], 0) / alike.length);
    const { place } = (alike.length && this.nearest(middle)) || { place: 0 };
    return [seen[2 * place], seen[2 * place + 1]];
  }

  /** The z that is decoded. */
  z(point = this.at) {
    const { moves, radius } = this.app.latent;
    return moves ? within(radius, lifted(this.frame, point, this.held)) : this.app.meanOf(this.nearest(point).place);
  }

  /** Whether there is no z that is seen at a point. */
  beyond(point) {
    const { radius } = this.app.latent;
    return Boolean(radius) && Math.hypot(...lifted(this.frame, point, this.held)) > radius;
  }

  move(point) {
    this.at = this.app.latent.moves && this.beyond(point) ? projected(this.frame, this.z(point)) : point;
    this.told("at");
  }

  /** Moves to where one dimension of z has another value: on the plane, across it, or both. */
  hold(index, value) {
    const z = this.z();
    z[index] = value;
    this.stand(z);
  }

  release() {
    this.stand(Float32Array.from(this.app.latent.center));
  }

  stand(z) {
    this.held = within(this.app.latent.radius, z);
    this.at = projected(this.frame, this.held);
    this.told("held");
  }

  choose(label) {
    this.label = label;
    this.told("held");
  }

  /** Looks along the principal directions, or along two of z's own dimensions. */
  look(first = null, second = null) {
    const name = first === null ? "principal" : `${first},${second}`;
    if (!this.kept.has(name)) this.kept.set(name, this.along(pair(this.app.latent.size, first, second)));
    const { frame, box } = this.kept.get(name);
    const z = this.z();
    this.frame = frame;
    this.at = projected(frame, z);
    this.lens.home = Lens.window(box);
    this.lens.reset();
    this.told("frame");
    this.surveyed(name);
  }

  along(frame) {
    const { points, latent: { size } } = this.app;
    let most = points ? 1e-3 : 3;
    for (let at = 0; points && at < points.count; at++) {
      for (const value of projected(frame, points.mean, at * size)) most = Math.max(most, Math.abs(value));
    }
    return { frame, box: [-1.15 * most, -1.15 * most, 1.15 * most, 1.15 * most], contours: null };
  }

  /** Finds the prior's contours where they are not known yet. */
  async surveyed(name) {
    const kept = this.kept.get(name), { model, latent } = this.app;
    if (kept.contours || !model.can("prior")) return;
    kept.contours = [];
    await model.ready;
    const z = await model.prior(DRAWS, 1, this.app.context(this.label, DRAWS));
    const seen = new Float32Array(2 * DRAWS);
    for (let at = 0; at < DRAWS; at++) seen.set(projected(kept.frame, z, at * latent.size), 2 * at);
    kept.contours = contours(counted(seen));
    if (this.frame === kept.frame) this.told("frame");
  }

  get contours() {
    return [...this.kept.values()].find((one) => one.frame === this.frame).contours || [];
  }

  /** The examples on the plane, (x0, y0, ...), and their standard deviations there, likewise. */
  get seen() {
    const kept = [...this.kept.values()].find((one) => one.frame === this.frame), { points } = this.app;
    if (kept.seen || !points) return kept.seen || { points: new Float32Array(0), spreads: new Float32Array(0) };
    const size = this.app.latent.size, made = new Float32Array(2 * points.count), spreads = new Float32Array(2 * points.count);
    const line = size === 1, high = 1.6 * this.lens.home.half;
    for (let at = 0; at < points.count; at++) {
      made.set(projected(this.frame, points.mean, at * size), 2 * at);
      if (line) made[2 * at + 1] = (((at * GOLDEN) % 1) - 0.5) * high; // up and down mean nothing, and keep points apart
      spreads.set(line ? [points.scale[at], 100 * high] : this.frame.axes.map((axis) => {
        let sum = 0;
        for (let d = 0; d < size; d++) sum += (axis[d] * points.scale[at * size + d]) ** 2;
        return Math.sqrt(sum);
      }), 2 * at);
    }
    kept.seen = { points: made, spreads };
    return kept.seen;
  }

  /** The example seen nearest to a point: { place, distance }, or null. hidden: labels that do not count. */
  nearest(point, hidden = null, within = Infinity) {
    const { points } = this.seen, labels = this.app.points && this.app.points.labels;
    let best = null, least = within * within;
    for (let place = 0; place < points.length / 2; place++) {
      if (hidden && labels && hidden.has(labels[place])) continue;
      const distance = (points[2 * place] - point[0]) ** 2 + (points[2 * place + 1] - point[1]) ** 2;
      if (distance < least) [best, least] = [place, distance];
    }
    return best === null ? null : { place: best, distance: Math.sqrt(least) };
  }

  /** The point in the names of the two directions. */
  said(point = this.at) {
    return this.frame.names.map((name, axis) => `${name} = ${point[axis].toFixed(2).replace("-", "−")}`).join(", ");
  }
}
