// A run of pictures, one after the other: played, stopped, moved by hand, and saved.

import { h, labelled } from "./dom.js";
import { gif } from "./gif.js";
import { magnified, save } from "./sheet.js";

const EACH = 70; // milliseconds that a picture stands
const ENDS = 600; // the same at the points that were picked
const WIDE = 224; // pixels of a GIF, about
const STILL = window.matchMedia("(prefers-reduced-motion: reduce)");

export class Film {
  /** moved(at): picture `at` is now the one that is seen. */
  constructor(moved) {
    Object.assign(this, { pictures: [], stops: new Set(), at: 0, moved, timer: 0, wanted: false });
    this.canvas = h("canvas", { class: "pixels film", role: "img", "aria-label": "The walk, picture by picture" });
    this.slider = h("input", { type: "range", min: "0", value: "0", step: "1" });
    this.slider.addEventListener("input", () => {
      this.pause();
      this.to(Number(this.slider.value));
    });
    this.button = h("button", { type: "button", class: "main", onclick: () => (this.timer ? this.pause() : this.play()) }, "Play");
    this.element = h("div", { class: "player" }, [this.canvas, h("div", { class: "row" }, [this.button, labelled("Where on the way", this.slider)])]);
  }

  /** Another run. stops: which pictures are of points that were picked. */
  load(pictures, stops) {
    Object.assign(this, { pictures, stops: new Set(stops) });
    this.slider.max = String(Math.max(0, pictures.length - 1));
    this.to(Math.min(this.at, pictures.length - 1));
    if (this.wanted) this.play();
  }

  to(at) {
    this.at = at;
    this.slider.value = String(at);
    const picture = this.pictures[at];
    if (!picture) return;
    if (this.canvas.width !== picture.width) this.canvas.width = picture.width;
    if (this.canvas.height !== picture.height) this.canvas.height = picture.height;
    this.canvas.getContext("2d").putImageData(picture, 0, 0);
    this.moved(at);
  }

  delay(at) {
    return this.stops.has(at) ? ENDS : EACH;
  }

  play() {
    if (this.timer || this.pictures.length < 2) return;
    this.wanted = false;
    this.button.textContent = "Pause";
    const step = () => {
      this.to((this.at + 1) % this.pictures.length);
      this.timer = setTimeout(step, this.delay(this.at));
    };
    this.timer = setTimeout(step, this.delay(this.at));
  }

  pause() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.wanted = false;
    this.button.textContent = "Play";
  }

  /** Plays by itself as soon as there is something, unless the person asked the system for less motion. */
  begin() {
    if (STILL.matches) return;
    this.wanted = true;
    this.play();
  }

  saveGif(name) {
    const { width, height } = this.pictures[0], scale = Math.max(1, Math.round(WIDE / width));
    const frames = this.pictures.map((picture) => magnified(picture, scale));
    save(new Blob([gif(frames, width * scale, height * scale, this.pictures.map((_, at) => this.delay(at)))], { type: "image/gif" }), name);
  }
}
