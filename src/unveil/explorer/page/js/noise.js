// Random numbers as a function of a seed, the same in every browser.

/** A generator of uniforms in [0, 1): mulberry32, from a whole number. */
export function uniforms(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** `count` uniforms in [0, 1), float32. */
export function uniform(count, seed) {
  const next = uniforms(seed), most = 1 - 2 ** -24; // what rounds to 1 in float32 is no uniform below 1
  return Float32Array.from({ length: count }, () => Math.min(most, next()));
}

/** `count` standard normals, by pairs. Source: Box & Muller 1958, A Note on the Generation of Random Normal Deviates. */
export function normal(count, seed) {
  const next = uniforms(seed ^ 0x9e3779b9), made = new Float32Array(count);
  for (let at = 0; at < count; at += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - next())), angle = 2 * Math.PI * next();
    made[at] = radius * Math.cos(angle);
    if (at + 1 < count) made[at + 1] = radius * Math.sin(angle);
  }
  return made;
}
