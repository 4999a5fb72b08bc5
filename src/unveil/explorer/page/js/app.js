// What every view works with.
//
//   app.know         the page's facts, as content.py wrote them
//   app.model        the model (model.js)
//   app.image        { shape: [C, H, W], white, measure, ink } or null where x are no images
//   app.latent       { size: D, shape, plane, landscape, dimensions, center, flat, radius: how long z may be (null: as long as it
//                    likes), moves: whether all z near one are some, ways: between two of them, the prior's own first }
//   app.points       { count, mean, scale: Float32Array (count * D), labels: [..] or null }, or null in a page without data
//   app.pictures     { count, x(i): Float32Array in the model's numbers, drawn(i): ImageData } of the first points, or null
//   app.project(z)   [x, y] of z on the plane;  app.lift([x, y], z): z moved within the plane so that it is seen there
//   app.picture(x, offset)   ImageData of one x;  app.show(canvas, x, offset) puts it into a canvas of that size
//   app.className(label), app.classes   names of labels; how many classes the model is conditioned on (0: none)
//   app.context(label, n)    n one-hot rows for a conditional model, else undefined
//   app.classChoice(changed) a <select> of classes for a conditional model, else null
//   app.meanOf(i)    z of an example
//   app.sight, app.controls  what is looked at, and the controls of it, which the views of a plane share (sight.js, controls.js)
//   app.say(text)    tells a screen reader

import { bytes, floats } from "./bytes.js";
import { Controls } from "./controls.js";
import { choice, labelled } from "./dom.js";
import { lifted, projected, within } from "./frame.js";
import { Model } from "./model.js";
import { Sight } from "./sight.js";

function decodedPng(text) {
  return createImageBitmap(new Blob([bytes(text)], { type: "image/png" })).then((bitmap) => {
    const canvas = document.createElement("canvas");
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    return context.getImageData(0, 0, bitmap.width, bitmap.height);
  });
}

/** Examples as pictures: tiles of one sheet. */
class Pictures {
  constructor({ count, columns }, sheet, app) {
    Object.assign(this, { count, columns, sheet, app });
  }

  /** The example in the model's numbers, channel by channel. */
  x(at) {
    const { shape: [channels, height, width], white } = this.app.image, made = new Float32Array(channels * height * width);
    const top = Math.floor(at / this.columns) * height, left = (at % this.columns) * width;
    for (let c = 0; c < channels; c++) {
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          const value = this.sheet.data[4 * ((top + y) * this.sheet.width + left + x) + c] / 255;
          made[(c * height + y) * width + x] = value * white;
        }
      }
    }
    return made;
  }

  drawn(at) {
    return this.app.picture(this.x(at));
  }
}

export class App {
  constructor(know, timing) {
    const { image, latent, classes } = know;
    const model = { ...know.model, image: image ? image.shape : [], latent: latent.shape };
    Object.assign(this, { know, image, latent, model: new Model(model, timing.calls) });
    this.classes = classes.count;
    this.names = classes.names;
    this.points = latent.points && {
      count: latent.points.count,
      mean: floats(latent.points.mean),
      scale: floats(latent.points.scale),
      labels: latent.points.labels,
    };
    this.pictures = null;
    this.sight = new Sight(this);
    this.controls = new Controls(this);
  }

  /** Unpacks the pictures. */
  async open() {
    const { pictures } = this.latent;
    if (pictures) this.pictures = new Pictures(pictures, await decodedPng(pictures.png), this);
  }

  className(label) {
    return label === null || label === undefined ? "" : String(this.names[label] ?? label);
  }

  /** The labels that points have, in order. */
  labels() {
    return this.points && this.points.labels ? [...new Set(this.points.labels)].sort((a, b) => a - b) : [];
  }

  /** z of an example, the mean of its posterior. */
  meanOf(place) {
    return this.points.mean.slice(place * this.latent.size, (place + 1) * this.latent.size);
  }

  project(z, from = 0) {
    return projected(this.latent.plane, z, from);
  }

  lift(point, z = this.latent.center) {
    return within(this.latent.radius, lifted(this.latent.plane, point, z));
  }

  picture(x, offset = 0) {
    const { shape: [channels, height, width], white, ink } = this.image;
    const made = new ImageData(width, height), size = height * width;
    for (let at = 0; at < size; at++) {
      for (let c = 0; c < 3; c++) {
        const value = x[offset + (channels === 1 ? 0 : c) * size + at] / white;
        made.data[4 * at + c] = Math.round(255 * Math.min(1, Math.max(0, ink ? 1 - value : value)));
      }
      made.data[4 * at + 3] = 255;
    }
    return made;
  }

  show(canvas, x, offset = 0) {
    const picture = this.picture(x, offset);
    if (canvas.width !== picture.width) canvas.width = picture.width;
    if (canvas.height !== picture.height) canvas.height = picture.height;
    canvas.getContext("2d").putImageData(picture, 0, 0);
  }

  context(label, n) {
    if (!this.classes) return undefined;
    const made = new Float32Array(n * this.classes);
    for (let row = 0; row < n; row++) made[row * this.classes + label] = 1;
    return made;
  }

  classChoice(changed) {
    if (!this.classes) return null;
    const options = Array.from({ length: this.classes }, (_, label) => [label, this.className(label)]);
    return labelled("Class", choice(options, (label) => changed(Number(label))));
  }

  say(text) {
    document.getElementById("say").textContent = text;
  }
}
