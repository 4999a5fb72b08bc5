// Sample: pictures that the model makes up, as a sheet, by a seed that gives the same ones again.

import { choice, h, labelled, latest } from "./dom.js";
import { columnsFor, lay, savePng } from "./sheet.js";
import { onTheme, value } from "./theme.js";

const COUNTS = [16, 36, 64, 100, 196];
const KINDS = [["mean", "Expected pictures, E[x|z]"], ["x", "Samples, x ~ p(x|z)"]];
const WORDS = {
  mean: "Each is the mean of all pictures that the model would draw from one point of its latent space",
  x: "Each pixel is drawn at random, as the model's likelihood has it, which is why they look grainy",
};

class Sample {
  constructor(root, app) {
    Object.assign(this, { app, label: 0, kind: "mean", count: 64 });
    this.canvas = h("canvas", { class: "sheet pixels", role: "img" });
    this.words = h("p", { class: "quiet" });
    this.seed = h("input", { type: "number", min: "0", max: "4294967295", step: "1", value: "0" });
    this.seed.addEventListener("change", () => this.draw());
    this.draw = latest(() => this.drawn());
    const count = choice(COUNTS.map((each) => [each, String(each)]), (chosen) => this.set("count", Number(chosen)));
    count.value = String(this.count);
    root.append(
      h("div", { class: "row" }, [
        labelled("How many", count),
        app.classChoice((label) => this.set("label", label)),
        labelled("What is shown", choice(KINDS, (kind) => this.set("kind", kind))),
        labelled("Seed", this.seed),
        h("button", { type: "button", class: "main", onclick: () => this.another() }, "New seed"),
        h("button", { type: "button", onclick: () => savePng(this.canvas, `samples-seed-${this.number()}.png`) }, "Save as PNG"),
      ]),
      h("div", { class: "frame sheet-frame" }, [this.canvas]), this.words,
    );
    onTheme(() => this.draw());
    this.draw();
  }

  set(name, to) {
    this[name] = to;
    this.draw();
  }

  /** The seed as a whole number that a generator takes. */
  number() {
    const given = Math.floor(Number(this.seed.value));
    return given >= 0 && given < 2 ** 32 ? given : 0;
  }

  another() {
    this.seed.value = String(crypto.getRandomValues(new Uint32Array(1))[0] % 100_000);
    this.draw();
  }

  async drawn() {
    const { app, count, kind, label } = this, seed = this.number();
    this.seed.value = String(seed);
    const found = (await app.model.sample(count, seed, app.context(label, count)))[kind], each = found.length / count;
    const pictures = Array.from({ length: count }, (_, at) => app.picture(found, at * each));
    const scale = Math.max(1, Math.round(84 / pictures[0].width));
    lay(this.canvas, pictures, { columns: columnsFor(count), scale, gap: 4, ground: app.image.ink ? "#fff" : value("--paper") });
    const of = app.classes ? ` of ${app.className(label)}` : "";
    this.canvas.setAttribute("aria-label", `${count} pictures${of} that the model made up, by seed ${seed}`);
    this.canvas.dataset.seed = seed;
    this.words.textContent = `${WORDS[kind]}. Seed ${seed} gives these ${count} again.`;
  }
}

export const sample = {
  id: "sample",
  title: "Sample",
  about: "The model makes up pictures of its own: it takes places on its map at random, as likely as it holds them to be, and draws what belongs there.",
  missing(app) {
    if (!app.image) return "This model's data are no images; in a terminal, unveil sample RUN draws from it.";
    return app.model.can("sample") ? "" : `This page cannot draw from the model: ${app.model.why("sample")}.`;
  },
  mount(root, app) {
    this.view = new Sample(root, app);
  },
};
