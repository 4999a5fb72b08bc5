// The page's own timer: how long until it can be used, each call of the model, and each frame while something is dragged.
// A browser's console, or a test, reads `unveilTiming.summary()`.

const quantile = (values, share) => {
  const ordered = Float64Array.from(values).sort();
  return ordered.length ? ordered[Math.min(ordered.length - 1, Math.floor(share * ordered.length))] : NaN;
};

export const timing = {
  interactive: NaN, // ms from the beginning of navigation
  calls: [], // { name, n, took }
  frames: [], // ms of this page's own work in each frame while something is dragged
  summary() {
    const decodes = this.calls.filter((call) => call.name === "decode" && call.n === 1).map((call) => call.took);
    return {
      interactive: this.interactive,
      decode: { count: decodes.length, median: quantile(decodes, 0.5), most: quantile(decodes, 0.95) },
      frame: { count: this.frames.length, median: quantile(this.frames, 0.5), most: quantile(this.frames, 0.95) },
    };
  },
};

window.unveilTiming = timing;
