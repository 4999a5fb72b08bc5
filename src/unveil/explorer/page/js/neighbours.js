// Which examples lie nearest to a point of the latent space, and what they are.

import { h } from "./dom.js";
import { majority, nearest } from "./estimate.js";

const ASKED = 10; // examples whose labels are counted
const SHOWN = 6; // of those with pictures

export class Neighbours {
  constructor(app) {
    this.app = app;
    this.sentence = h("p", { class: "nearest", role: "status" });
    this.pictures = h("div", { class: "thumbs" });
    this.element = h("section", { hidden: !app.points }, [this.sentence, this.pictures]);
    this.empty();
  }

  empty() {
    this.sentence.textContent = "";
    this.pictures.replaceChildren();
  }

  near(mean) {
    const { points, pictures } = this.app;
    if (!points) return;
    const found = nearest(mean, points.mean, ASKED);
    if (points.labels) this.say(majority(found.map((at) => points.labels[at])), found.length);
    if (!pictures) return;
    const seen = nearest(mean, points.mean.subarray(0, pictures.count * mean.length), SHOWN);
    this.pictures.replaceChildren(...seen.map((at) => this.picture(at)));
  }

  say({ label, count }, asked) {
    const name = this.app.className(label);
    this.sentence.dataset.label = label;
    this.sentence.replaceChildren("Nearest to ", h("strong", {}, name), `: ${count} of the ${asked} nearest examples.`);
  }

  picture(at) {
    const label = this.app.points.labels ? this.app.className(this.app.points.labels[at]) : "";
    const canvas = h("canvas", { class: "pixels", role: "img", "aria-label": label ? `Example of ${label}` : "Example" });
    this.app.show(canvas, this.app.pictures.x(at));
    return h("figure", {}, [canvas, label ? h("figcaption", {}, label) : null]);
  }
}
