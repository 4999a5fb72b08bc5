// Controls of what is looked at: the two directions, where each dimension of z stands, and the class. There is one set of
// them, which moves to whatever view is open.

import { choice, h, labelled } from "./dom.js";
import { subscripted } from "./frame.js";

const OPEN = 6; // sliders that stand in the open; the others are a click away

export class Controls {
  constructor(app) {
    this.app = app;
    this.element = h("div", { class: "controls" });
    if (!app.latent.moves) return;
    const { size, plane } = app.latent;
    const label = app.classChoice((chosen) => app.sight.choose(chosen));
    if (label) this.element.append(label);
    if (size > 2) this.element.append(this.directions(plane), this.sliders());
    app.sight.heard(() => this.fresh());
  }

  directions(plane) {
    const { app } = this, share = Math.round(100 * (plane.explained[0] + plane.explained[1]));
    const options = app.latent.dimensions.length ? app.latent.dimensions : Array.from({ length: app.latent.size }, (_, index) => ({ index }));
    const named = options.map(({ index, kl, collapsed }) => [index, `${subscripted(index)}${said(kl, collapsed)}`]);
    this.across = choice([["principal", "first principal direction"], ...named], () => this.looked(this.across));
    this.up = choice([["principal", "second principal direction"], ...named], () => this.looked(this.up));
    const about = `The two principal directions hold ${share} % of how the encoded examples differ.`;
    return h("div", { class: "group" }, [labelled("Across", this.across), labelled("Up", this.up), plane.principal ? h("p", { class: "quiet" }, about) : null]);
  }

  /** Two of z's own dimensions, or the two principal directions: where one is chosen the other follows. */
  looked(changed) {
    const { across, up } = this, other = changed === across ? up : across;
    if (changed.value === "principal") other.value = "principal";
    else if (other.value === "principal" || other.value === changed.value) {
      other.value = [...other.options].map((option) => option.value).find((value) => value !== "principal" && value !== changed.value);
    }
    if (across.value === "principal") this.app.sight.look();
    else this.app.sight.look(Number(across.value), Number(up.value));
    this.app.say(`Looking along ${this.app.sight.frame.names.join(" and ")}`);
  }

  sliders() {
    const { app } = this, { size, dimensions } = app.latent;
    const known = dimensions.length ? dimensions : Array.from({ length: size }, (_, index) => ({ index, kl: null, collapsed: false }));
    this.rows = known.map((one) => this.slider(one));
    const alive = this.rows.filter((_, at) => !known[at].collapsed), dead = this.rows.filter((_, at) => known[at].collapsed);
    return h("div", { class: "group" }, [
      h("div", { class: "bar" }, [h("h3", {}, "All dimensions"), h("button", { type: "button", class: "plain", onclick: () => app.sight.release() }, "Reset")]),
      ...alive.slice(0, OPEN).map((row) => row.element),
      folded(`${alive.length - OPEN} more, which carry less`, alive.slice(OPEN)),
      folded(`${dead.length} collapsed: the model ignores ${dead.length === 1 ? "it" : "them"}`, dead),
    ]);
  }

  slider({ index, kl, collapsed, spread }) {
    const { sight, latent } = this.app, middle = latent.center[index], reach = latent.radius || Math.max(3, 3 * (spread || 0));
    const from = latent.radius ? 0 : middle;
    const input = h("input", { type: "range", min: from - reach, max: from + reach, step: "any", value: middle });
    const value = h("output", {}, "");
    input.addEventListener("input", () => sight.hold(index, Number(input.value)));
    const name = `${subscripted(index)}${said(kl, collapsed)}`;
    const element = labelled(name, input);
    element.classList.add("slider");
    element.append(value);
    value.setAttribute("for", input.id);
    return { element, input, value, index };
  }

  /** Shows where one is. */
  fresh() {
    const z = this.rows && this.app.sight.z();
    for (const { input, value, index } of this.rows || []) {
      input.value = z[index];
      value.textContent = z[index].toFixed(2).replace("-", "−");
    }
  }
}

function said(kl, collapsed) {
  const nats = kl === null || kl === undefined ? "" : `, ${kl.toFixed(2)} nats`;
  return collapsed ? `${nats}, collapsed` : nats;
}

function folded(title, rows) {
  return rows.length ? h("details", {}, [h("summary", {}, title), ...rows.map((row) => row.element)]) : null;
}
