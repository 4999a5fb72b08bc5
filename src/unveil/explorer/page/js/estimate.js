// What K importance weights say of one image, in the words of docs/numbers.md, and how sure it is.

/** log of a sum of exponentials: weights near exp(-100) underflow. */
export function logSumExp(values) {
  let most = -Infinity;
  for (const value of values) most = Math.max(most, value);
  if (!Number.isFinite(most)) return most;
  let sum = 0;
  for (const value of values) sum += Math.exp(value - most);
  return most + Math.log(sum);
}

/**
 * The importance-weighted estimate of log p(x).
 *
 *   log p(x) ~ log 1/K sum_k w_k,  w_k = p(x, z_k) / q(z_k|x),  z_k ~ q(z|x)
 *
 * Its exponential is unbiased; itself it lies below log p(x) in expectation, by less the more draws there are.
 *
 * logW: K log weights, in nats. Returns {logP, error, effective, draws}: nats, the estimator's standard error to first
 * order, sqrt((K / ess - 1) / (K - 1)), and the effective number of draws ess = (sum w)^2 / sum w^2.
 *
 * Source: Burda et al. 2016, Importance Weighted Autoencoders, arXiv:1509.00519.
 */
export function estimated(logW) {
  const draws = logW.length, total = logSumExp(logW);
  const effective = Number.isFinite(total) ? Math.exp(2 * total - logSumExp(logW.map((value) => 2 * value))) : 0;
  const error = draws > 1 && effective > 0 ? Math.sqrt(Math.max(0, draws / effective - 1) / (draws - 1)) : NaN;
  return { logP: total - Math.log(draws), error, effective, draws };
}

/** Places of the `count` rows of `means` nearest to a point, the nearest first; means: rows of `point.length` numbers. */
export function nearest(point, means, count) {
  const size = point.length, rows = Math.floor(means.length / size);
  const distances = new Float64Array(rows);
  for (let row = 0; row < rows; row++) {
    for (let axis = 0; axis < size; axis++) distances[row] += (means[row * size + axis] - point[axis]) ** 2;
  }
  return Array.from(distances.keys()).sort((a, b) => distances[a] - distances[b] || a - b).slice(0, count);
}

/** The label that most of `labels` bear and how many of them: {label, count}; on a tie the one that comes first. */
export function majority(labels) {
  const counts = new Map();
  for (const label of labels) counts.set(label, (counts.get(label) || 0) + 1);
  let best = { label: null, count: 0 };
  for (const [label, count] of counts) if (count > best.count) best = { label, count };
  return best;
}
