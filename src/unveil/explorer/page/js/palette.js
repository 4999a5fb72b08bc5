// At most 256 colours for pictures of more: exact where there are no more, else boxes of colours halved at the median of
// their widest channel. Source: Heckbert 1982, Color Image Quantization for Frame Buffer Display, SIGGRAPH.

const MOST = 256;

/** Colours of RGBA frames and how often each occurs: a Map from 0xrrggbb to a count. */
function colours(frames) {
  const counts = new Map();
  for (const frame of frames) {
    for (let at = 0; at < frame.length; at += 4) {
      const colour = (frame[at] << 16) | (frame[at + 1] << 8) | frame[at + 2];
      counts.set(colour, (counts.get(colour) || 0) + 1);
    }
  }
  return counts;
}

const channel = (colour, which) => (colour >> (16 - 8 * which)) & 255;

/** The widest channel of a box, and by how much: [channel, width]. */
function widest(box) {
  let best = [0, -1];
  for (let which = 0; which < 3; which++) {
    let low = 255, high = 0;
    for (const [colour] of box) {
      low = Math.min(low, channel(colour, which));
      high = Math.max(high, channel(colour, which));
    }
    if (high - low > best[1]) best = [which, high - low];
  }
  return best;
}

/** A box in two, with about as many pixels in each as can be without parting colours that are equal in the channel. */
function halved(box, which) {
  box.sort((a, b) => channel(a[0], which) - channel(b[0], which));
  const half = box.reduce((sum, entry) => sum + entry[1], 0) / 2;
  let cut = 1, sum = 0, least = Infinity;
  for (let at = 1; at < box.length; at++) {
    sum += box[at - 1][1];
    const equal = channel(box[at - 1][0], which) === channel(box[at][0], which);
    if (!equal && Math.abs(sum - half) < least) [cut, least] = [at, Math.abs(sum - half)];
  }
  return [box.slice(0, cut), box.slice(cut)];
}

function mean(box) {
  const weight = box.reduce((sum, entry) => sum + entry[1], 0);
  const at = (which) => Math.round(box.reduce((sum, [colour, n]) => sum + n * channel(colour, which), 0) / weight);
  return (at(0) << 16) | (at(1) << 8) | at(2);
}

/**
 * A palette for RGBA frames.
 *
 * Returns {table, index}: the colours as 0xrrggbb, and a Map from every colour of the frames to its place among them.
 */
export function palette(frames) {
  const counts = [...colours(frames)].sort((a, b) => a[0] - b[0]);
  if (counts.length <= MOST) {
    return { table: counts.map(([colour]) => colour), index: new Map(counts.map(([colour], at) => [colour, at])) };
  }
  const open = [{ box: counts, width: widest(counts) }];
  while (open.length < MOST) {
    open.sort((a, b) => a.width[1] - b.width[1]);
    const next = open.pop();
    for (const box of halved(next.box, next.width[0])) open.push({ box, width: widest(box) });
  }
  const index = new Map();
  open.forEach(({ box }, at) => box.forEach(([colour]) => index.set(colour, at)));
  return { table: open.map(({ box }) => mean(box)), index };
}
