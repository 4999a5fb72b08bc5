// The model's own thread. It unpacks the runtime and the weights, and computes the model's functions one after the other.
// This file travels by itself: `model.js` puts the runtime before it, as `ort`, and starts it in a worker.

/** The `count` bytes of a text with seven bits a character, as dense.py writes it. */
function undense(text, count) {
  const made = new Uint8Array(Math.ceil(count / 7) * 7);
  for (let from = 0, to = 0; to < count; from += 8, to += 7) {
    let held = text.charCodeAt(from) & 127;
    for (let at = 0; at < 7; at++) {
      held = (held << 7) | (text.charCodeAt(from + at + 1) & 127);
      made[to + at] = held >> (6 - at);
    }
  }
  return made.subarray(0, count);
}

async function unpacked(text, count) {
  const stream = new Blob([undense(text, count)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function serve(port, ort) {
  const sessions = new Map();
  let parts = null, uses = null, last = Promise.resolve();

  async function start({ runtime, weights, bytes, places, graphs }) {
    uses = graphs;
    const [binary, blob] = await Promise.all([unpacked(runtime, bytes.runtime), unpacked(weights, bytes.weights)]);
    ort.env.wasm.wasmBinary = binary.buffer;
    ort.env.wasm.numThreads = 1;
    ort.env.logLevel = "error";
    parts = Object.fromEntries(Object.entries(places).map(([name, [from, size]]) => [name, blob.subarray(from, from + size)]));
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
