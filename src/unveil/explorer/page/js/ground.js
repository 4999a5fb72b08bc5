// What lies on the plane: the density of the encoded data, the contours of the prior, the examples as points.

import { bytes } from "./bytes.js";
import { colour, value } from "./theme.js";

/** The density as a picture of one colour, its opacity the square root of the density. */
export function shade({ aggregate, side }, tint) {
  const values = bytes(aggregate), made = new ImageData(side, side);
  const [red, green, blue] = tint;
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      const at = 4 * ((side - 1 - row) * side + column); // rows come from the bottom
      made.data.set([red, green, blue, 0.62 * values[row * side + column]], at);
    }
  }
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  canvas.getContext("2d").putImageData(made, 0, 0);
  return canvas;
}

/** Draws the ground. context: scaled to CSS pixels; side: of the square; what: { density, contours, points, hidden: Set }. */
export function ground(context, side, lens, app, what) {
  context.clearRect(0, 0, side, side);
  if (what.density) density(context, side, lens, app.latent.landscape, what.shade);
  if (what.contours) contours(context, side, lens, app.latent.landscape);
  if (what.points && app.points) points(context, side, lens, app, what);
}

function density(context, side, lens, { box: [left, bottom, right, top] }, picture) {
  const [x0, y0] = lens.pixel([left, top], side), [x1, y1] = lens.pixel([right, bottom], side);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, x0, y0, x1 - x0, y1 - y0);
}

function contours(context, side, lens, landscape) {
  context.lineWidth = 1;
  context.strokeStyle = context.fillStyle = value("--contour");
  context.setLineDash([4, 4]);
  context.font = "11px system-ui, sans-serif";
  context.textAlign = "center";
  for (const { share, lines } of landscape.contours) {
    let highest = null;
    for (const line of lines) {
      context.beginPath();
      line.forEach((point, at) => context[at ? "lineTo" : "moveTo"](...lens.pixel(point, side)));
      context.stroke();
      for (const point of line) if (!highest || point[1] > highest[1]) highest = point;
    }
    if (highest) {
      const [x, y] = lens.pixel(highest, side);
      context.fillText(`${Math.round(100 * share)} %`, x, y - 3);
    }
  }
  context.setLineDash([]);
}

function points(context, side, lens, app, { hidden, places }) {
  const radius = Math.min(4, 1.9 * Math.sqrt(lens.home.half / lens.half));
  const { labels, count } = app.points, by = new Map();
  for (let at = 0; at < count; at++) {
    const label = labels ? labels[at] : null;
    if (hidden.has(label)) continue;
    if (!by.has(label)) by.set(label, []);
    by.get(label).push(at);
  }
  context.globalAlpha = 0.85;
  for (const [label, rows] of by) {
    context.fillStyle = colour(label);
    context.beginPath();
    for (const at of rows) {
      const [x, y] = lens.pixel([places[2 * at], places[2 * at + 1]], side);
      if (x < -5 || y < -5 || x > side + 5 || y > side + 5) continue;
      context.moveTo(x + radius, y);
      context.arc(x, y, radius, 0, 2 * Math.PI);
    }
    context.fill();
  }
  context.globalAlpha = 1;
}
