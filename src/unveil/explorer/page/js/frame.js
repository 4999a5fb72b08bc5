// A plane through the latent space: { origin: D numbers, axes: two rows of D numbers, orthonormal, names }.

/** [x, y] of the z that begins at `from` in a list of numbers. */
export function projected(frame, z, from = 0) {
  return frame.axes.map((axis) => axis.reduce((sum, entry, at) => sum + entry * (z[from + at] - frame.origin[at]), 0));
}

/** z moved within the plane until it is seen at `point`; what is across the plane stays as it is. */
export function lifted(frame, point, z) {
  const here = projected(frame, z), [x, y] = frame.axes;
  return Float32Array.from(z, (value, at) => value + x[at] * (point[0] - here[0]) + y[at] * (point[1] - here[1]));
}

/** z brought back to where it is no longer than `radius`, if there is one. */
export function within(radius, z) {
  const length = Math.hypot(...z);
  return radius && length > radius ? z.map((value) => (value * radius) / length) : z;
}

/** The plane of two of z's own dimensions. */
export function pair(size, first, second) {
  const unit = (which) => Array.from({ length: size }, (_, at) => Number(at === which));
  return { origin: new Array(size).fill(0), axes: [unit(first), unit(second)], names: [subscripted(first), subscripted(second)] };
}

/** z and the number of a dimension, counted from 1. */
export function subscripted(index) {
  return `z${String(index + 1).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit])}`;
}
