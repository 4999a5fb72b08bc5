// A Gaussian seen on a plane: the ellipse that holds a stated share of it.

/** The radius, in standard deviations, within which a Gaussian in the plane has this share of its mass. */
const radius = (share) => Math.sqrt(-2 * Math.log(1 - share));

/**
 * The ellipse of a Gaussian with independent dimensions, seen along two axes.
 *
 *   C = A diag(scale^2) A^T,  C = V diag(l) V^T: half axes r sqrt(l) along V,  r = sqrt(-2 log(1 - share))
 *
 * scale: (D,) standard deviations. axes: two rows of D numbers. Returns {across, along, angle}: half axes in the plane's
 * units, the longer first, and the angle of the longer one in radians from the first axis.
 */
export function ellipse(scale, axes, share = 0.95) {
  const entry = (i, j) => scale.reduce((sum, value, at) => sum + axes[i][at] * axes[j][at] * value * value, 0);
  const a = entry(0, 0), b = entry(0, 1), c = entry(1, 1);
  const middle = (a + c) / 2, half = Math.hypot((a - c) / 2, b);
  const r = radius(share);
  return {
    across: r * Math.sqrt(middle + half),
    along: r * Math.sqrt(Math.max(0, middle - half)),
    angle: 0.5 * Math.atan2(2 * b, a - c),
  };
}
