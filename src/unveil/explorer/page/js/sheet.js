// Pictures side by side on one canvas, and canvases as files.

/** How many columns `count` pictures take, so that the whole is about square. */
export function columnsFor(count) {
  return Math.ceil(Math.sqrt(count));
}

/**
 * Draws pictures into a canvas, row by row, each pixel as a square of `scale` by `scale`.
 *
 * pictures: ImageData of one size. gap: pixels between them, of the colour `ground`.
 */
export function lay(canvas, pictures, { columns, scale = 2, gap = 2, ground = "transparent" }) {
  const { width, height } = pictures[0];
  const rows = Math.ceil(pictures.length / columns);
  canvas.width = columns * (width * scale + gap) + gap;
  canvas.height = rows * (height * scale + gap) + gap;
  const context = canvas.getContext("2d");
  context.fillStyle = ground;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = false;
  const one = document.createElement("canvas");
  one.width = width;
  one.height = height;
  pictures.forEach((picture, at) => {
    one.getContext("2d").putImageData(picture, 0, 0);
    const x = gap + (at % columns) * (width * scale + gap), y = gap + Math.floor(at / columns) * (height * scale + gap);
    context.drawImage(one, x, y, width * scale, height * scale);
  });
}

/** A picture's RGBA bytes with each pixel as a square of `scale` by `scale`. */
export function magnified(picture, scale) {
  const { width, height, data } = picture;
  const from = new Uint32Array(data.buffer, data.byteOffset, width * height);
  const out = new Uint32Array(width * height * scale * scale);
  for (let at = 0; at < out.length; at++) {
    const x = Math.floor((at % (width * scale)) / scale), y = Math.floor(at / (width * scale * scale));
    out[at] = from[y * width + x];
  }
  return new Uint8ClampedArray(out.buffer);
}

/** Hands a file to the person: the browser's own way of saving. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Saves a canvas as a PNG file. */
export async function savePng(canvas, name) {
  save(await new Promise((done) => canvas.toBlob(done, "image/png")), name);
}
