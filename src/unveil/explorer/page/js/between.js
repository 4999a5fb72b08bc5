// Ways from one point of a latent space to another: what the prior finds likely at both ends should be likely on the way.

const dot = (a, b) => a.reduce((sum, value, at) => sum + value * b[at], 0);
const norm = (a) => Math.sqrt(dot(a, a));
const mix = (a, b, s, t) => a.map((value, at) => s * value + t * b[at]);

/** (1 - t) a + t b. */
export function straight(a, b, t) {
  return mix(a, b, 1 - t, t);
}

/**
 * Along the great circle through both directions, the length changing evenly.
 *
 *   u(t) = (sin((1 - t) w) u(0) + sin(t w) u(1)) / sin w,  z(t) = ((1 - t) |a| + t |b|) u(t)
 *
 * with unit vectors u and the angle w between them. Draws of a Gaussian in D dimensions have lengths near sqrt(D), and
 * the straight way between two of them is shorter in its middle by about sqrt(2): a length that the prior hardly ever
 * gives. Where a direction is missing or the two are opposite there is no such circle, and the way is straight.
 *
 * Source: Shoemake 1985, Animating Rotation with Quaternion Curves, SIGGRAPH; White 2016, Sampling Generative Networks,
 * arXiv:1609.04468.
 */
export function spherical(a, b, t) {
  const from = norm(a), to = norm(b);
  if (from === 0 || to === 0) return straight(a, b, t);
  const cosine = Math.max(-1, Math.min(1, dot(a, b) / (from * to)));
  const angle = Math.acos(cosine), sine = Math.sin(angle);
  if (sine < 1e-6) return straight(a, b, t);
  const length = (1 - t) * from + t * to;
  return mix(a, b, (length * Math.sin((1 - t) * angle)) / (sine * from), (length * Math.sin(t * angle)) / (sine * to));
}

/**
 * `steps` points through all of `stops`, as evenly as they go: the stops themselves are among them.
 *
 * way: straight or spherical. closed: whether it goes back to the first stop, which is then not repeated.
 */
export function route(stops, steps, way, closed = false) {
  const legs = closed ? stops.length : stops.length - 1;
  const points = [];
  for (let leg = 0; leg < legs; leg++) {
    const next = stops[(leg + 1) % stops.length];
    for (let step = 0; step < steps; step++) points.push(way(stops[leg], next, step / steps));
  }
  if (!closed) points.push(stops[stops.length - 1]);
  return points;
}
