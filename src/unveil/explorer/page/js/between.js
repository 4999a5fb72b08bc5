// Ways from one point of a latent space to another, as distributions/ways.py and hyperbolic.py compute them: a way is a
// function of both ends and of the share of the way that one has gone.

const dot = (a, b) => a.reduce((sum, value, at) => sum + value * b[at], 0);
const norm = (a) => Math.sqrt(dot(a, a));
const mix = (a, b, s, t) => a.map((value, at) => s * value + t * b[at]);

/** (1 - t) a + t b. */
export function straight(a, b, t) {
  return mix(a, b, 1 - t, t);
}

/** Along the great circle through both directions, the length changing evenly; straight where there is none. */
export function spherical(a, b, t) {
  const from = norm(a), to = norm(b);
  if (from === 0 || to === 0) return straight(a, b, t);
  const cosine = Math.max(-1, Math.min(1, dot(a, b) / (from * to)));
  const angle = Math.acos(cosine), sine = Math.sin(angle);
  if (sine < 1e-6) return straight(a, b, t);
  const length = (1 - t) * from + t * to;
  return mix(a, b, (length * Math.sin((1 - t) * angle)) / (sine * from), (length * Math.sin(t * angle)) / (sine * to));
}

/** The isometry of a ball of curvature -c that takes the origin to x, applied to y. */
function added(x, y, c) {
  const xy = 2 * c * dot(x, y), xx = c * dot(x, x), yy = c * dot(y, y), whole = 1 + xy + xx * yy;
  return mix(x, y, (1 + xy + yy) / whole, (1 - xx) / whole);
}

/** The geodesic of the Poincaré ball of curvature -c, at an even pace. */
export function geodesic(c) {
  return (a, b, t) => {
    const way = added(a.map((value) => -value), b, c), length = Math.sqrt(c) * norm(way);
    if (length === 0) return [...a];
    return added(a, way.map((value) => (value * Math.tanh(t * Math.atanh(Math.min(length, 1 - 1e-13)))) / length), c);
  };
}

/** A way as the page's content has it: { name, curvature }. */
export function wayOf({ name, curvature }) {
  return { straight, spherical, geodesic: geodesic(curvature) }[name];
}

/**
 * `steps` points through all of `stops`, as evenly as they go: the stops themselves are among them.
 *
 * way: from one stop to the next. closed: whether it goes back to the first stop, which is then not repeated.
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
