// How probable an image is to the model: an estimate by importance weights, with what it rests on.

import { choice, h, labelled } from "./dom.js";
import { estimated } from "./estimate.js";
import { read } from "./given.js";

const COUNTS = [64, 128, 256, 1024];
const FEW = 10; // effective draws below which an estimate is no more than a bound

/** What test examples have on average, where the model was evaluated: {text, value} or null. */
function usual({ sheets }) {
  const rows = sheets.length ? sheets[0].rows : [];
  const row = rows.filter((one) => one.value !== null && /^-log p\(x/.test(one.name)).pop();
  return row ? -row.value : null;
}

export class Evidence {
  /** changed(): the person wants other draws. */
  constructor(app, changed) {
    Object.assign(this, { app, seed: 0, count: 128 });
    this.value = h("output", { class: "big" });
    this.error = h("p", { class: "quiet" });
    this.words = h("p", { class: "quiet" });
    const seed = h("input", { type: "number", min: "0", max: "4294967295", step: "1", value: "0" });
    seed.addEventListener("change", () => {
      this.seed = Math.max(0, Math.floor(Number(seed.value) || 0));
      seed.value = this.seed;
      changed();
    });
    const count = choice(COUNTS.map((each) => [each, String(each)]), (chosen) => {
      this.count = Number(chosen);
      changed();
    });
    count.value = String(this.count);
    this.settings = h("div", { class: "row" }, [labelled("Draws K", count), labelled("Seed", seed)]);
    this.element = h("section", { class: "evidence" }, [h("h3", {}, "How probable it is"), this.value, this.error, this.words, this.settings]);
    this.empty();
  }

  empty() {
    const why = this.app.model.can("weigh") ? "" : `This model gives no probabilities: ${this.app.model.why("weigh")}.`;
    this.value.textContent = why ? "" : `${this.app.know.evidence.name} of nothing yet`;
    this.error.textContent = why;
    this.words.textContent = "";
    this.settings.hidden = Boolean(why);
  }

  /** Estimates, shows it, and gives back the draws of z; null where the model cannot. */
  async weighed(x, context) {
    if (!this.app.model.can("weigh")) return null;
    const { image } = this.app, { z, log_w } = await this.app.model.weigh(read(x, image, this.seed), this.count, this.seed, context);
    this.say(estimated(log_w), image);
    return z;
  }

  say({ logP, error, effective, draws }, { measure }) {
    const given = this.app.know.evidence.name;
    if (!Number.isFinite(logP)) {
      this.value.textContent = `${given}: none of the ${draws} draws explains it`;
      this.error.textContent = this.words.textContent = "";
      return;
    }
    if (draws === 1) {
      this.value.textContent = `${given} ≥ ${logP.toFixed(1).replace("-", "−")} nats`;
      this.error.textContent = "The encoder chooses one z, and what is weighed is that one alone, which bounds it from below.";
      this.words.textContent = this.compared(measure);
      return;
    }
    this.value.textContent = `${given} ≈ ${logP.toFixed(1).replace("-", "−")} nats`;
    this.error.textContent = `± ${error.toPrecision(2)} by the draws: K = ${draws}, of which ${effective.toFixed(1)} effective.`
      + (effective < FEW ? " So few carry it that it is a lower bound rather than an estimate." : "");
    this.words.textContent = this.compared(measure);
  }

  compared(measure) {
    const average = usual(this.app.know.facts);
    return (average === null ? "More is more probable." : `More is more probable; test examples have ${average.toFixed(1).replace("-", "−")} on average.`)
      + (measure === "binary" ? ` Of the drawing's gray, one random black-and-white reading is weighed, by seed ${this.seed}.` : "")
      + (this.app.know.evidence.note ? ` ${this.app.know.evidence.note}` : "");
  }
}
