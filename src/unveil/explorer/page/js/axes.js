// Which two directions of the latent space are seen, and sliders for all dimensions of it.

import { choice, h, labelled } from "./dom.js";

/** The page's own directions, two dimensions of z, or what was chosen: { axes, origin, names, own }. */
export function directions(app, x, y) {
  const { plane, size } = app.latent;
  if (x === "own" || y === "own") return { ...app.home, own: true };
  const unit = (index) => Array.from({ length: size }, (_, at) => (at === index ? 1 : 0));
  return { ...plane, origin: new Array(size).fill(0), axes: [unit(Number(x)), unit(Number(y))], names: [`z${Number(x) + 1}`, `z${Number(y) + 1}`], own: false };
}

const name = ({ index, kl, collapsed }) => {
  const carries = kl === null ? "" : `, ${kl.toFixed(2)} nats`;
  return `z${index + 1}${collapsed ? " (collapsed: carries nothing)" : carries}`;
};

/** Two menus for the directions; null where z has no more than two dimensions. `changed()` is called after each change. */
export function axisMenus(app, changed) {
  if (app.latent.size <= 2) return null;
  const options = [["own", "principal direction"], ...app.latent.dimensions.map((one) => [one.index, name(one)])];
  const set = () => {
    const mixed = (across.value === "own") !== (up.value === "own");
    if (mixed) (set.by === across ? up : across).value = set.by.value === "own" ? "own" : second(set.by.value);
    app.look(directions(app, across.value, up.value));
    changed();
  };
  const second = (first) => String(app.latent.dimensions.map((one) => one.index).find((index) => String(index) !== first));
  const across = choice(options, () => { set.by = across; set(); }), up = choice(options, () => { set.by = up; set(); });
  return h("div", { class: "row" }, [labelled("Across", across), labelled("Up", up)]);
}

/** A slider for each dimension by falling KL; `moved(index, value)` when one is dragged. Returns { element, set(z) }. */
export function sliders(app, moved) {
  const inputs = app.latent.dimensions.map((one) => {
    const reach = Math.max(3, Math.ceil(3 * one.spread)).toFixed(0);
    const shown = h("output", {}, "0.00");
    const input = h("input", { type: "range", min: -reach, max: reach, step: "0.02", value: "0" });
    input.addEventListener("input", () => {
      shown.textContent = Number(input.value).toFixed(2);
      moved(one.index, Number(input.value));
    });
    return { one, input, shown, row: h("div", { class: one.collapsed ? "slider collapsed" : "slider" }, [labelled(name(one), input), shown]) };
  });
  const set = (z) => inputs.forEach(({ one, input, shown }) => {
    input.value = z[one.index];
    shown.textContent = z[one.index].toFixed(2);
  });
  const alive = inputs.filter(({ one }) => !one.collapsed).length;
  const note = `${alive} of ${inputs.length} dimensions carry something; the first carries most.`;
  return { set, element: h("details", { open: true, class: "sliders" }, [
    h("summary", {}, "All dimensions"), h("p", { class: "quiet" }, note),
    h("div", { class: "slider-list", tabindex: "0", role: "group", "aria-label": "All dimensions" }, inputs.map(({ row }) => row)),
  ]) };
}
