// Compressed bytes out of the page's text.

/** The `count` bytes of a text with seven bits a character, as dense.py writes it. */
export function undense(text, count) {
  const made = new Uint8Array(Math.ceil(count / 7) * 7);
  for (let from = 0, to = 0; to < count; from += 8, to += 7) {
    let held = text.charCodeAt(from) & 127;
    for (let at = 0; at < 7; at++) {
      held = (held << 7) | (text.charCodeAt(from + at + 1) & 127);
      made[to + at] = held >> (6 - at);
    }
  }
  return made.subarray(0, count);
}

/** What was compressed by gzip and written as such a text. */
export async function unpacked(text, count) {
  const stream = new Blob([undense(text, count)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
