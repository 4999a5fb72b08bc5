// The face of one x: an image as a canvas, a row of numbers as a list.

import { h } from "./dom.js";

const MOST = 24; // numbers that are listed

/**
 * An element that shows one x: { element, show(x, offset), note }.
 *
 * Rows of a table have columns of several kinds, of which a mean says little: of them nothing is shown, and `note` says so.
 */
export function face(app, label) {
  if (app.image) {
    const canvas = h("canvas", { class: "face", role: "img", "aria-label": label });
    return { element: canvas, show: (x, offset = 0) => app.show(canvas, x, offset), note: "" };
  }
  const { measure, shape, columns } = app.know.facts.data, size = shape.reduce((product, side) => product * side, 1);
  if (measure === "columns") {
    const note = "The data are rows of a table, which have no picture: the points show where they lie.";
    return { element: h("p", { class: "quiet" }, note), show() {}, note };
  }
  const values = Array.from({ length: Math.min(MOST, size) }, (_, at) => [h("dt", {}, columns[at] || `x ${at + 1}`), h("dd")]);
  const show = (x, offset = 0) => values.forEach(([, value], at) => {
    value.textContent = x[offset + at].toPrecision(3).replace("-", "−");
  });
  return { element: h("dl", { class: "pairs face-values", "aria-label": label }, values.flat()), show, note: "" };
}
