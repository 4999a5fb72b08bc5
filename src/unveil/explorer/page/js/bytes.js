// Arrays out of the page's base64.

/** The bytes of base64. */
export function bytes(text) {
  const raw = atob(text), made = new Uint8Array(raw.length);
  for (let at = 0; at < raw.length; at++) made[at] = raw.charCodeAt(at);
  return made;
}

/** Float32 numbers of base64. */
export function floats(text) {
  return new Float32Array(bytes(text).buffer);
}
