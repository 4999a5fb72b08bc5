// Image files, from a choice, a drop or the clipboard, to pixels: the browser decodes them, whatever they claim to be.

const MOST_BYTES = 20e6;
const MOST_SIDE = 512; // what is larger is shrunk before its pixels are taken

/** The first image among the files of an input, a drop or a paste; null where there is none. */
export function imageOf(transfer) {
  const files = [...((transfer && transfer.files) || [])];
  return files.find((file) => file.type.startsWith("image/")) || files[0] || null;
}

/**
 * An image file's pixels: {width, height, data}, RGBA, what is transparent being white.
 *
 * Raises an Error whose message tells a person what is wrong with it.
 */
export async function decoded(file) {
  if (file.size > MOST_BYTES) {
    throw new Error(`${file.name || "The image"} has ${Math.round(file.size / 1e6)} MB; take one below ${MOST_BYTES / 1e6} MB.`);
  }
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(`${file.name || "This"} is no image that this browser can read; take a PNG, JPEG, GIF or WebP file.`);
  }
  const scale = Math.min(1, MOST_SIDE / Math.max(bitmap.width, bitmap.height));
  const width = Math.max(1, Math.round(scale * bitmap.width)), height = Math.max(1, Math.round(scale * bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

/** One gray image, values from 0 to 1, for each of a model's channels: one of luminance, or red, green and blue. */
export function planes(pixels, channels) {
  const size = pixels.width * pixels.height;
  return Array.from({ length: channels }, (_, channel) => {
    const values = new Float32Array(size);
    for (let at = 0; at < size; at++) {
      const [red, green, blue] = pixels.data.subarray(4 * at, 4 * at + 3);
      const gray = 0.299 * red + 0.587 * green + 0.114 * blue;
      values[at] = (channels === 3 ? [red, green, blue][channel] : gray) / 255;
    }
    return { width: pixels.width, height: pixels.height, values };
  });
}
