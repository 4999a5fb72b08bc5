// From what a hand draws to what the model was trained on: pixels from 0 to 1, as large as the model's, prepared as MNIST
// prepared them. "The original images were size normalized to fit in a 20x20 pixel box while preserving their aspect
// ratio. The resulting images contain grey levels as a result of the anti-aliasing [...] the images were centered in a
// 28x28 image by computing the center of mass of the pixels." Source: LeCun, Cortes & Burges, The MNIST database.

const BOX = 20 / 28; // share of the field that ink is fitted into
const FAINT = 0.05; // below this a pixel is paper
const STROKE = 0.1; // width of a stroke, as a share of the box: MNIST's are two pixels wide, or a little more
const FINE = 4; // samples across a pixel

/** A gray image: values from 0 to 1, row by row. */
export function blank(width, height) {
  return { width, height, values: new Float32Array(width * height) };
}

function distance2(x, y, a, b) {
  const dx = b[0] - a[0], dy = b[1] - a[1], length2 = dx * dx + dy * dy;
  const t = length2 ? Math.max(0, Math.min(1, ((x - a[0]) * dx + (y - a[1]) * dy) / length2)) : 0;
  return (x - a[0] - t * dx) ** 2 + (y - a[1] - t * dy) ** 2;
}

/** Strokes of a round pen, 1 where it went: points in pixels of an image of this size. */
export function raster(strokes, width, height, radius) {
  const image = blank(width, height);
  for (const stroke of strokes) {
    stroke.forEach((point, at) => {
      const from = stroke[Math.max(0, at - 1)];
      const low = (axis) => Math.floor(Math.min(from[axis], point[axis]) - radius);
      const high = (axis) => Math.ceil(Math.max(from[axis], point[axis]) + radius);
      for (let y = Math.max(0, low(1)); y < Math.min(height, high(1)); y++) {
        for (let x = Math.max(0, low(0)); x < Math.min(width, high(0)); x++) {
          if (distance2(x + 0.5, y + 0.5, from, point) <= radius * radius) image.values[y * width + x] = 1;
        }
      }
    });
  }
  return image;
}

/** The least rectangle that holds everything darker than paper: {x, y, width, height}; null where there is no ink. */
export function bounds(image) {
  let left = image.width, right = -1, top = image.height, bottom = -1;
  for (let y = 0; y < image.height; y++) {
    for (let x = 0; x < image.width; x++) {
      if (image.values[y * image.width + x] < FAINT) continue;
      left = Math.min(left, x), right = Math.max(right, x), top = Math.min(top, y), bottom = Math.max(bottom, y);
    }
  }
  return right < 0 ? null : { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
}

/** Of a part of an image, each new pixel the mean of the area that it covers. */
export function resized(image, part, width, height) {
  const out = blank(width, height);
  const across = spans(part.x, part.width, width), down = spans(part.y, part.height, height);
  down.forEach((rows, y) => {
    across.forEach((columns, x) => {
      let sum = 0, weight = 0;
      for (const [row, share] of rows) {
        for (const [column, portion] of columns) {
          sum += share * portion * image.values[row * image.width + column];
          weight += share * portion;
        }
      }
      out.values[y * width + x] = sum / weight;
    });
  });
  return out;
}

/** For each of `count` new pixels the old ones that it covers along one axis, and how much of each. */
function spans(start, length, count) {
  return Array.from({ length: count }, (_, at) => {
    const low = start + (at * length) / count, high = start + ((at + 1) * length) / count;
    const covered = [];
    for (let pixel = Math.floor(low); pixel < Math.min(Math.ceil(high - 1e-9), start + length); pixel++) {
      covered.push([pixel, Math.min(high, pixel + 1) - Math.max(low, pixel)]);
    }
    return covered;
  });
}

/** (x, y) of the centre of mass, in pixels. */
export function mass(image) {
  let total = 0, x = 0, y = 0;
  image.values.forEach((value, at) => {
    total += value;
    x += value * ((at % image.width) + 0.5);
    y += value * (Math.floor(at / image.width) + 0.5);
  });
  return [x / total, y / total];
}

/** Ink as MNIST prepared it: cut out, fitted into the box, its centre of mass in the middle of the field. */
export function prepared(image, width, height) {
  const part = bounds(image);
  const out = blank(width, height);
  if (!part) return out;
  const scale = Math.min((BOX * width) / part.width, (BOX * height) / part.height);
  const small = resized(image, part, Math.max(1, Math.round(scale * part.width)), Math.max(1, Math.round(scale * part.height)));
  const [x, y] = mass(small);
  // nothing is pushed out of the field
  const shift = (middle, centre, room) => Math.max(0, Math.min(room, Math.round(middle - centre)));
  const left = shift(width / 2, x, width - small.width), top = shift(height / 2, y, height - small.height);
  for (let row = 0; row < small.height; row++) {
    for (let column = 0; column < small.width; column++) {
      out.values[(top + row) * width + left + column] = small.values[row * small.width + column];
    }
  }
  return out;
}

/** The whole image, as large as fits and in the middle, the rest as its rim is on average. */
export function fitted(image, width, height) {
  const scale = Math.min(width / image.width, height / image.height);
  const small = resized(
    image, { x: 0, y: 0, width: image.width, height: image.height },
    Math.max(1, Math.round(scale * image.width)), Math.max(1, Math.round(scale * image.height)),
  );
  const out = blank(width, height);
  out.values.fill(rim(image));
  const left = (width - small.width) >> 1, top = (height - small.height) >> 1;
  for (let row = 0; row < small.height; row++) {
    for (let column = 0; column < small.width; column++) {
      out.values[(top + row) * width + left + column] = small.values[row * small.width + column];
    }
  }
  return out;
}

/** The mean of an image's outermost pixels: what its background is. */
export function rim(image) {
  let sum = 0, count = 0;
  image.values.forEach((value, at) => {
    const x = at % image.width, y = Math.floor(at / image.width);
    if (x > 0 && y > 0 && x < image.width - 1 && y < image.height - 1) return;
    sum += value, count++;
  });
  return sum / count;
}

/** Dark for light. */
export function inverted(image) {
  return { ...image, values: image.values.map((value) => 1 - value) };
}

/**
 * Strokes as pixels of the model's size.
 *
 * strokes: lists of points [x, y] from 0 to 1 of a square pad. The pen is as wide as MNIST's is in its box, however large
 * somebody draws. ink: whether the data are ink on paper; else the pad is shrunk as it is, with a pen of its own width.
 */
export function drawn(strokes, width, height, ink = true) {
  const side = FINE * Math.max(width, height) * 2;
  const points = strokes.flat();
  if (!points.length) return blank(width, height);
  const extent = (axis) => {
    const values = points.map((point) => point[axis]);
    return Math.max(...values) - Math.min(...values);
  };
  // whatever is drawn fills the box, pen included
  const size = ink ? Math.max(extent(0), extent(1), 0.1) : BOX;
  const radius = (side * size * STROKE) / (2 * (ink ? 1 - STROKE : 1));
  const margin = ink ? Math.ceil(radius) + 1 : 0; // what hangs over the pad's edge is ink, too
  const shifted = strokes.map((stroke) => stroke.map(([x, y]) => [x * side + margin, y * side + margin]));
  const image = raster(shifted, side + 2 * margin, side + 2 * margin, radius);
  return ink ? prepared(image, width, height) : fitted(image, width, height);
}
