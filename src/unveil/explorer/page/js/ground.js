// The ground of the latent plane: how dense the data lie, and the lines around where the prior puts its mass.

const SHARES = [0.25, 0.5, 0.75, 0.95]; // of the prior's mass, which its contours hold

/**
 * The density of the aggregate posterior in a square window of the plane, the mean of q(z|x) over the points:
 *
 *   q(a, b) = 1/N sum_n N(a; x_n, s_n) N(b; y_n, t_n)
 *
 * with what is across the plane summed over. points, spreads: (x0, y0, x1, y1, ...). Returns side * side numbers, rows from
 * the top. A posterior narrower than the grid is widened to it, as it would fall between its points.
 */
export function density(points, spreads, { x, y, half }, side) {
  const step = (2 * half) / side, count = points.length / 2, made = new Float32Array(side * side);
  const across = new Float32Array(side), reach = 4;
  for (let n = 0; n < count; n++) {
    const s = Math.max(spreads[2 * n], 1.2 * step), t = Math.max(spreads[2 * n + 1], 1.2 * step);
    const column = (points[2 * n] - x + half) / step - 0.5, row = (y + half - points[2 * n + 1]) / step - 0.5;
    const left = Math.max(0, Math.ceil(column - (reach * s) / step)), right = Math.min(side - 1, Math.floor(column + (reach * s) / step));
    const top = Math.max(0, Math.ceil(row - (reach * t) / step)), bottom = Math.min(side - 1, Math.floor(row + (reach * t) / step));
    for (let i = left; i <= right; i++) across[i] = Math.exp(-0.5 * (((i - column) * step) / s) ** 2);
    for (let j = top; j <= bottom; j++) {
      const up = Math.exp(-0.5 * (((j - row) * step) / t) ** 2) / (2 * Math.PI * s * t * count);
      for (let i = left; i <= right; i++) made[j * side + i] += up * across[i];
    }
  }
  return made;
}

/**
 * How dense draws lie on the plane: counted on a grid over all of them, and smoothed by a normal of 2 steps.
 *
 * points: (x0, y0, ...). Returns a field: { values: side * side, rows from the bottom, side, low: its first point, step }.
 */
export function counted(points, side = 72) {
  let most = 1e-6;
  for (const value of points) most = Math.max(most, Math.abs(value));
  const step = (2.4 * most) / side, low = -1.2 * most + step / 2;
  let values = new Float32Array(side * side);
  for (let at = 0; at < points.length; at += 2) {
    const i = Math.round((points[at] - low) / step), j = Math.round((points[at + 1] - low) / step);
    if (i >= 0 && j >= 0 && i < side && j < side) values[j * side + i] += 1;
  }
  const width = 2, reach = 3 * width, kernel = Array.from({ length: 2 * reach + 1 }, (_, at) => Math.exp(-0.5 * ((at - reach) / width) ** 2));
  for (const stride of [1, side]) {
    const next = new Float32Array(side * side);
    for (let at = 0; at < next.length; at++) {
      const place = stride === 1 ? at % side : Math.floor(at / side);
      for (let k = -reach; k <= reach; k++) {
        if (place + k >= 0 && place + k < side) next[at] += kernel[k + reach] * values[at + k * stride];
      }
    }
    values = next;
  }
  return { values, side, low: [low, low], step };
}

/** The level above which this share of everything lies. */
function level(values, share) {
  const ordered = Float32Array.from(values).sort().reverse(), whole = ordered.reduce((sum, value) => sum + value, 0);
  let held = 0;
  for (const value of ordered) {
    held += value;
    if (held >= share * whole) return value;
  }
  return 0;
}

/** Where a grid crosses a level, as pieces of line, by marching squares: two points each, in steps of the grid. */
function crossings(values, side, at) {
  const pieces = [], edges = [[0, 0, 1, 0], [1, 0, 1, 1], [1, 1, 0, 1], [0, 1, 0, 0]];
  for (let j = 0; j + 1 < side; j++) {
    for (let i = 0; i + 1 < side; i++) {
      const found = [];
      for (const [ax, ay, bx, by] of edges) {
        const a = values[(j + ay) * side + i + ax] - at, b = values[(j + by) * side + i + bx] - at;
        if (a > 0 === b > 0) continue;
        const t = a / (a - b);
        found.push([i + ax + t * (bx - ax), j + ay + t * (by - ay)]);
      }
      for (let k = 0; k + 1 < found.length; k += 2) pieces.push([found[k], found[k + 1]]);
    }
  }
  return pieces;
}

/** Contours of a field: for each share of its mass, lines around the densest region that holds it, [{ share, lines }]. */
export function contours({ values, side, low: [left, bottom], step }) {
  return SHARES.map((share) => ({
    share,
    lines: crossings(values, side, level(values, share)).map((line) => line.map(([i, j]) => [left + i * step, bottom + j * step])),
  }));
}
