// A pad to draw on: by mouse, finger or pen, and by keyboard, where the arrows move a cursor and the space bar puts the pen
// down and lifts it. What was drawn is kept as strokes, lists of points [x, y] from 0 to 1, so that it can be undone and
// drawn again at any size.

const STEP = 1 / 28; // how far an arrow moves the cursor
const WIDTH = 0.075; // of the pen, as a share of the pad
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const within = (value) => Math.max(0, Math.min(1, value));

/** The strokes of a pad and the pen that writes them; `told()` is called after each change. */
class Strokes {
  constructor(told) {
    this.all = [];
    this.down = false;
    this.told = told;
  }

  start(point) {
    this.all.push([point]);
    this.down = true;
    this.told();
  }

  move(point) {
    if (!this.down) return;
    this.all[this.all.length - 1].push(point);
    this.told();
  }

  lift() {
    this.down = false;
  }

  undo() {
    this.lift();
    this.all.pop();
    this.told();
  }

  replace(strokes) {
    this.lift();
    this.all = strokes;
    this.told();
  }
}

/** Strokes as smooth lines: through the midpoints of their points, which bend them. */
function trace(context, strokes, side) {
  context.lineWidth = WIDTH * side;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    const points = stroke.map(([x, y]) => [x * side, y * side]);
    const last = points[points.length - 1];
    context.beginPath();
    context.moveTo(...points[0]);
    for (let at = 1; at < points.length - 1; at++) {
      const [x, y] = points[at], [nextX, nextY] = points[at + 1];
      context.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
    }
    context.lineTo(...last);
    context.stroke();
  }
}

function byPointer(canvas, strokes) {
  let writing = null; // one pointer writes: a second finger or a resting hand does not
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [within((event.clientX - box.left) / box.width), within((event.clientY - box.top) / box.height)];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (writing !== null || event.button !== 0) return;
    writing = event.pointerId;
    canvas.setPointerCapture(writing);
    canvas.focus({ preventScroll: true });
    event.preventDefault();
    strokes.start(place(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== writing) return;
    const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    for (const each of events.length ? events : [event]) strokes.move(place(each));
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => {
      if (event.pointerId !== writing) return;
      writing = null;
      strokes.lift();
    });
  }
}

function byKeyboard(canvas, strokes, cursor, say) {
  canvas.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (arrow) {
      cursor.shown = true;
      cursor.at = cursor.at.map((value, axis) => within(value + STEP * arrow[axis] * (event.shiftKey ? 4 : 1)));
      strokes.move(cursor.at);
    } else if (event.key === " ") {
      cursor.shown = true;
      if (strokes.down) strokes.lift();
      else strokes.start(cursor.at);
      say(strokes.down ? "Pen down" : "Pen up");
    } else if (event.key === "Escape" && strokes.down) {
      strokes.lift();
      say("Pen up");
    } else if (event.key === "z" && (event.ctrlKey || event.metaKey)) {
      strokes.undo();
    } else if (event.key === "Delete" || event.key === "Backspace") {
      strokes.replace([]);
    } else {
      return;
    }
    event.preventDefault();
    strokes.told();
  });
  canvas.addEventListener("blur", () => {
    cursor.shown = false;
    strokes.lift();
    strokes.told();
  });
}

/**
 * Makes a pad of a canvas.
 *
 * changed(strokes): called after each change. say(text): what a screen reader is to speak.
 * Returns {strokes, undo, clear, set, paint}: `paint` draws it again, where its size or colours have changed.
 */
export function pen(canvas, changed, say = () => {}) {
  const cursor = { at: [0.5, 0.25], shown: false };
  const strokes = new Strokes(() => {
    paint();
    changed(strokes.all);
  });

  function paint() {
    const side = Math.max(1, Math.round(canvas.clientWidth * (window.devicePixelRatio || 1)));
    if (canvas.width !== side) canvas.width = canvas.height = side;
    const context = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    context.clearRect(0, 0, side, side);
    context.strokeStyle = style.color;
    trace(context, strokes.all, side);
    if (!cursor.shown) return;
    context.beginPath();
    context.arc(cursor.at[0] * side, cursor.at[1] * side, (WIDTH * side) / 2, 0, 7);
    context.lineWidth = side / 140;
    context.strokeStyle = style.outlineColor;
    context.stroke();
  }

  canvas.tabIndex = 0;
  canvas.style.touchAction = "none";
  byPointer(canvas, strokes);
  byKeyboard(canvas, strokes, cursor, say);
  return {
    get strokes() {
      return strokes.all;
    },
    undo: () => strokes.undo(),
    clear: () => strokes.replace([]),
    set: (all) => strokes.replace(all),
    paint,
  };
}
