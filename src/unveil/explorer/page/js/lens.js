// A window on the plane that one can zoom and pan, and the gestures that do so, by mouse, touch and keyboard.

const MOST = 60; // times that one can zoom in, and a quarter of the first view out
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/** A square of the plane: its middle and half its side. */
export class Lens {
  constructor(box) {
    this.home = Lens.window(box);
    Object.assign(this, this.home);
    this.listeners = [];
  }

  static window([left, bottom, right, top]) {
    return { x: (left + right) / 2, y: (bottom + top) / 2, half: (right - left) / 2 };
  }

  changed() {
    this.listeners.forEach((act) => act());
  }

  reset() {
    Object.assign(this, this.home);
    this.changed();
  }

  /** A place in a square of `side` pixels, from a point of the plane, and back. */
  pixel([x, y], side) {
    return [(0.5 + (x - this.x) / (2 * this.half)) * side, (0.5 - (y - this.y) / (2 * this.half)) * side];
  }

  point([x, y], side) {
    return [this.x + (x / side - 0.5) * 2 * this.half, this.y - (y / side - 0.5) * 2 * this.half];
  }

  pan([x, y]) {
    this.x += x;
    this.y += y;
    this.changed();
  }

  /** Zooms by a factor, above 1 inwards, and keeps `point` where it is. */
  zoom(factor, point = [this.x, this.y]) {
    const half = Math.min(4 * this.home.half, Math.max(this.home.half / MOST, this.half / factor)), share = half / this.half;
    this.x = point[0] + (this.x - point[0]) * share;
    this.y = point[1] + (this.y - point[1]) * share;
    this.half = half;
    this.changed();
  }
}

/**
 * Gestures on a square canvas.
 *
 * lens: what they move. moved(point): one finger or the mouse's button drags; null where that pans instead.
 * hovered(point or null): the mouse is over the plane without a button. stepped([dx, dy]): an arrow key, in shares of the side.
 */
export function gestures(canvas, lens, { moved = null, hovered = null, stepped = null }) {
  const fingers = new Map();
  let panning = false;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return lens.point([event.clientX - box.left, event.clientY - box.top], box.width);
  };
  const span = () => {
    const [a, b] = [...fingers.values()];
    return Math.hypot(a.x - b.x, a.y - b.y);
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    panning = !moved || event.shiftKey || event.button === 1 || event.button === 2 || fingers.size > 1;
    if (!panning) moved(place(event));
    if (hovered) hovered(null);
  });
  canvas.addEventListener("pointermove", (event) => {
    const finger = fingers.get(event.pointerId);
    if (!finger) {
      if (hovered && event.pointerType === "mouse") hovered(place(event));
      return;
    }
    const [dx, dy] = [event.clientX - finger.x, event.clientY - finger.y], before = fingers.size > 1 ? span() : 0;
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (!panning) {
      moved(place(event));
      return;
    }
    const unit = (2 * lens.half) / canvas.clientWidth / fingers.size;
    lens.pan([-dx * unit, dy * unit]);
    if (before) lens.zoom(span() / before, place(event));
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => fingers.delete(event.pointerId));
  canvas.addEventListener("pointerleave", () => hovered && hovered(null));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    lens.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.03 : 0.0016)), place(event));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (arrow && stepped && !event.shiftKey) stepped(arrow);
    else if (arrow) lens.pan(arrow.map((step) => step * 0.2 * lens.half));
    else if (event.key === "+" || event.key === "=") lens.zoom(1.25);
    else if (event.key === "-") lens.zoom(0.8);
    else if (event.key === "0" || event.key === "Home") lens.reset();
    else return;
    event.preventDefault();
  });
}
