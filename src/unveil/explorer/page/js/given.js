// What a person gives to a model, a drawing or a picture, in the model's own numbers.

import { drawn, fitted, inverted, prepared, rim } from "./ink.js";
import { uniform } from "./noise.js";
import { planes } from "./picture.js";

const LOOKED_AT = 50; // pictures by which a ground is known
const EMPTY = 0.03; // what the rim of strokes on an empty ground has at most, on average

/** Whether the data are strokes on an empty ground, so that what is drawn is cut out and centred as they were. */
export function handwritten({ image, pictures }) {
  if (image.ink || image.shape[0] !== 1 || !pictures) return image.ink;
  const [, height, width] = image.shape, count = Math.min(LOOKED_AT, pictures.count);
  let sum = 0;
  for (let at = 0; at < count; at++) sum += rim({ width, height, values: pictures.x(at) }) / image.white;
  return sum / count < EMPTY;
}

/** Strokes as x. */
export function fromStrokes(strokes, image) {
  const { shape: [channels, height, width], ink } = image;
  const gray = drawn(strokes, width, height, ink);
  return inNumbers(Array.from({ length: channels }, () => gray), image);
}

/**
 * An image file's pixels as x; where the data are ink, they are cut out and centred as the data were.
 *
 * invert: true or false; null for what the background asks for: data of ink are light on dark.
 */
export function fromPixels(pixels, image, invert = null) {
  const { shape: [channels, height, width], ink } = image;
  const given = planes(pixels, channels);
  const turn = invert === null ? ink && rim(given[0]) > 0.5 : invert;
  const seen = turn ? given.map(inverted) : given;
  return { x: inNumbers(seen.map((plane) => (ink ? prepared(plane, width, height) : fitted(plane, width, height))), image), inverted: turn };
}

/** Gray images from 0 to 1, one a channel, as x: whole numbers where the model counts levels. */
function inNumbers(channels, { white, measure }) {
  const joined = Float32Array.from(channels.flatMap((channel) => [...channel.values]));
  return joined.map((value) => (measure === "levels" ? Math.round(value * white) : value * white));
}

/**
 * x as the likelihood takes it: of binary data black and white, each pixel 1 with the probability that is its gray.
 *
 * Source: Salakhutdinov & Murray 2008, On the Quantitative Analysis of Deep Belief Networks.
 */
export function read(x, { measure }, seed) {
  if (measure !== "binary") return x;
  const chance = uniform(x.length, seed ^ 0x51ed270b); // other numbers than those of the draws
  return x.map((value, at) => (chance[at] < value ? 1 : 0));
}
