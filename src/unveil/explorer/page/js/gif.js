// An animated GIF from frames of pixels: one palette for all of them, and the LZW codes that the format asks for.
// Source: CompuServe 1989, GIF89a specification; Welch 1984, A Technique for High-Performance Data Compression.

import { palette } from "./palette.js";

const CODES = 4096; // the format's codes have at most 12 bits

/** Bytes that grow, and bits that are packed into them, the lowest first. */
class Bytes {
  constructor() {
    this.bytes = new Uint8Array(1 << 16);
    this.length = 0;
    this.held = 0;
    this.bits = 0;
  }

  push(...values) {
    for (const value of values) {
      if (this.length === this.bytes.length) {
        const more = new Uint8Array(2 * this.length);
        more.set(this.bytes);
        this.bytes = more;
      }
      this.bytes[this.length++] = value;
    }
  }

  short(value) {
    this.push(value & 255, value >> 8);
  }

  text(value) {
    this.push(...[...value].map((letter) => letter.charCodeAt(0)));
  }

  code(value, width) {
    this.held |= value << this.bits;
    this.bits += width;
    for (; this.bits >= 8; this.bits -= 8, this.held >>>= 8) this.push(this.held & 255);
  }

  flush() {
    if (this.bits > 0) this.push(this.held & 255);
    this.held = this.bits = 0;
  }

  taken() {
    return this.bytes.subarray(0, this.length);
  }
}

/** Variable-length LZW codes of `indices`, which need `depth` bits each. */
function compressed(indices, depth) {
  const clear = 1 << depth, out = new Bytes();
  let width = depth + 1, next = clear + 2, known = new Map();
  out.code(clear, width);
  let prefix = indices[0];
  for (let at = 1; at < indices.length; at++) {
    const key = (prefix << 8) | indices[at];
    const code = known.get(key);
    if (code !== undefined) {
      prefix = code;
      continue;
    }
    out.code(prefix, width);
    if (next < CODES) {
      known.set(key, next);
      if (next++ === 1 << width) width++;
    } else {
      out.code(clear, width);
      width = depth + 1, next = clear + 2, known = new Map();
    }
    prefix = indices[at];
  }
  out.code(prefix, width);
  // whoever reads has by now made one code more, which may be the first of a greater width
  if (next === 1 << width && width < 12) width++;
  out.code(clear + 1, width);
  out.flush();
  return out.taken();
}

function frameInto(out, indices, width, height, depth, centiseconds) {
  out.push(0x21, 0xf9, 4, 0);
  out.short(centiseconds);
  out.push(0, 0, 0x2c);
  for (const value of [0, 0, width, height]) out.short(value);
  out.push(0, depth);
  const codes = compressed(indices, depth);
  for (let at = 0; at < codes.length; at += 255) {
    const block = codes.subarray(at, at + 255);
    out.push(block.length, ...block);
  }
  out.push(0);
}

/**
 * A GIF that runs through frames, for ever.
 *
 * frames: RGBA bytes of width x height pixels each; opacity is not kept.
 * delays: how long each stands, in milliseconds, to the nearest hundredth of a second.
 * Returns a Uint8Array. Colours are exact where all frames together have at most 256, else the nearest of a palette.
 */
export function gif(frames, width, height, delays) {
  const { table, index } = palette(frames);
  let depth = 2; // the format's least
  while (1 << depth < table.length) depth++;
  const out = new Bytes();
  out.text("GIF89a");
  out.short(width);
  out.short(height);
  out.push(0xf0 | (depth - 1), 0, 0);
  for (let at = 0; at < 1 << depth; at++) {
    const colour = table[at] || 0;
    out.push(colour >> 16, (colour >> 8) & 255, colour & 255);
  }
  out.push(0x21, 0xff, 11);
  out.text("NETSCAPE2.0");
  out.push(3, 1, 0, 0, 0);
  frames.forEach((frame, which) => {
    const indices = new Uint8Array(width * height);
    for (let at = 0; at < indices.length; at++) {
      indices[at] = index.get((frame[4 * at] << 16) | (frame[4 * at + 1] << 8) | frame[4 * at + 2]);
    }
    frameInto(out, indices, width, height, depth, Math.round(delays[which] / 10));
  });
  out.push(0x3b);
  return out.taken();
}
