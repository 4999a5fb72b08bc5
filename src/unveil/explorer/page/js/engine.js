// The model's own thread. It unpacks the runtime and the weights, and computes the model's functions one after the other.
// This file travels by itself: engine.py puts the runtime, as `ort`, and dense.js before it, and `model.js` starts it in a worker.

/** A tensor's bytes in their order, where weights.py put the first bytes of all its numbers first. */
function unsifted(bytes, width) {
  const made = new Uint8Array(bytes.length), count = bytes.length / width;
  for (let at = 0; at < count; at++) {
    for (let byte = 0; byte < width; byte++) made[at * width + byte] = bytes[byte * count + at];
  }
  return made;
}

function serve(port, ort) {
  const sessions = new Map();
  let parts = null, uses = null, last = Promise.resolve();

  async function start({ runtime, weights, bytes, places, widths, graphs }) {
    uses = graphs;
    const [binary, blob] = await Promise.all([unpacked(runtime, bytes.runtime), unpacked(weights, bytes.weights)]);
    ort.env.wasm.wasmBinary = binary.buffer;
    ort.env.wasm.numThreads = 1;
    ort.env.logLevel = "error";
    parts = Object.fromEntries(Object.entries(places).map(([name, [from, size]]) => {
      const part = blob.subarray(from, from + size);
      return [name, widths[name] ? unsifted(part, widths[name]) : part];
    }));
  }

  function session(name) {
    if (!sessions.has(name)) {
      const externalData = uses[name].tensors.map((path) => ({ path, data: parts[path] }));
      sessions.set(name, ort.InferenceSession.create(parts[name], { externalData, executionProviders: ["wasm"] }));
    }
    return sessions.get(name);
  }

  async function run({ name, feeds }) {
    const ready = await session(name);
    const given = Object.fromEntries(Object.entries(feeds).map(([key, { data, dims }]) => [key, new ort.Tensor("float32", data, dims)]));
    const begun = performance.now();
    const found = await ready.run(given);
    const took = performance.now() - begun;
    return { took, outputs: Object.fromEntries(Object.entries(found).map(([key, value]) => [key, value.data])) };
  }

  port.onmessage = ({ data }) => {
    last = last.then(async () => {
      try {
        const found = data.start ? await start(data.start) : data.warm ? void (await session(data.warm)) : await run(data);
        port.postMessage({ id: data.id, found });
      } catch (error) {
        port.postMessage({ id: data.id, error: String((error && error.message) || error) });
      }
    });
  };
}
