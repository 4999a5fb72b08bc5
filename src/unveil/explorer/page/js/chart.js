// Curves with named axes, as SVG: each line bears its name at its end, so that nobody has to match colours with a legend.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 640, HEIGHT = 280;
const FRAME = { left: 64, right: 108, top: 14, bottom: 44 };
const APART = 15; // between the names of two lines

/** An SVG element with attributes and a text. */
export function svg(name, attributes = {}, text = null) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}

/** Round numbers that cover [low, high], about `count` of them. */
export function ticks(low, high, count = 5) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough * 0.999);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at++) found.push(Number((at * step).toPrecision(12)));
  return found;
}

function range(values) {
  const low = Math.min(...values), high = Math.max(...values);
  const margin = 0.06 * (high - low) || 1;
  return [low - margin, high + margin];
}

/** Heights for names that would lie on each other, moved apart as little as needed, from the top down. */
function apart(heights) {
  const order = heights.map((_, at) => at).sort((a, b) => heights[a] - heights[b]);
  const placed = [...heights];
  order.forEach((at, rank) => {
    if (rank) placed[at] = Math.max(placed[at], placed[order[rank - 1]] + APART);
  });
  return placed;
}

function axes(root, across, up, x, y, names) {
  const bottom = HEIGHT - FRAME.bottom, right = WIDTH - FRAME.right;
  const at = (tick) => tick.toLocaleString("en", { maximumFractionDigits: 6 });
  for (const tick of ticks(...y, 4)) {
    root.append(svg("line", { class: "chart-grid", x1: FRAME.left, x2: right, y1: up(tick), y2: up(tick) }));
    root.append(svg("text", { class: "chart-tick", x: FRAME.left - 8, y: up(tick) + 4, "text-anchor": "end" }, at(tick)));
  }
  for (const tick of ticks(...x, 6).filter(Number.isInteger)) {
    root.append(svg("text", { class: "chart-tick", x: across(tick), y: bottom + 18, "text-anchor": "middle" }, at(tick)));
  }
  const middle = (FRAME.top + bottom) / 2;
  root.append(svg("text", { class: "chart-axis", x: (FRAME.left + right) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, names.x));
  root.append(svg("text", { class: "chart-axis", transform: `translate(14 ${middle}) rotate(-90)`, "text-anchor": "middle" }, names.y));
}

/**
 * A chart of lines.
 *
 * lines: [{name, kind, points: [[x, y], ...]}], finite; kind is the class of its stroke. names: {title, x, y}, of the chart and its axes.
 * Returns an <svg> whose text alternative states where each line begins and ends.
 */
export function chart(lines, names) {
  const all = lines.flatMap((line) => line.points);
  const xs = all.map((point) => point[0]), x = [Math.min(...xs), Math.max(...xs)];
  const y = range(all.map((point) => point[1]));
  const across = (value) => FRAME.left + ((value - x[0]) / (x[1] - x[0] || 1)) * (WIDTH - FRAME.left - FRAME.right);
  const up = (value) => HEIGHT - FRAME.bottom - ((value - y[0]) / (y[1] - y[0])) * (HEIGHT - FRAME.top - FRAME.bottom);
  const story = lines.map(({ name, points }) => {
    const [first, last] = [points[0], points[points.length - 1]];
    return `${name}: ${first[1].toFixed(1)} at ${names.x} ${first[0]}, ${last[1].toFixed(1)} at ${names.x} ${last[0]}`;
  });
  const root = svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  root.setAttribute("aria-label", `${names.title}, in ${names.y}. ${story.join("; ")}.`);
  axes(root, across, up, x, y, names);
  const ends = lines.map(({ points }) => points[points.length - 1]);
  const heights = apart(ends.map((end) => up(end[1])));
  lines.forEach(({ name, kind, points }, at) => {
    const path = points.map((point, step) => `${step ? "L" : "M"}${across(point[0]).toFixed(1)} ${up(point[1]).toFixed(1)}`).join("");
    root.append(svg("path", { class: `chart-line ${kind}`, d: path }));
    root.append(svg("circle", { class: `chart-end ${kind}`, cx: across(ends[at][0]), cy: up(ends[at][1]), r: 3.5 }));
    root.append(svg("text", { class: `chart-name ${kind}`, x: across(ends[at][0]) + 9, y: heights[at] + 4 }, name));
  });
  return root;
}
