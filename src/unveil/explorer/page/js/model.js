// The trained model, in a thread of its own: every function takes rows of numbers and promises rows of numbers.
//
//   await model.ready                      the decoder can be called
//   model.can("encode")                    whether there is such a function; model.why("encode") says why not
//   await model.decode(z, n, context)      Float32Array (n * x) E[x|z]
//   await model.encode(x, n, context)      { mean, scale }, (n * D) each
//   await model.weigh(x, n, seed, context) { z, log_w }: n draws z ~ q(z|x) of one x, log p(x, z) - log q(z|x) of each
//   await model.prior(n, seed, context)    z ~ p(z)
//   await model.sample(n, seed, context)   { x, mean }: x ~ p(x|z) and E[x|z] of the same z
//
// context: n one-hot rows of the class for a model that is conditioned on one, else nothing.

import { unpacked } from "./dense.js";
import { normal, uniform } from "./noise.js";

const REST = 50; // ms between two looks at whether anybody waits

const text = (id) => document.getElementById(id).textContent;

/** A plain script in a thread: what engine.py has joined. */
async function thread(size) {
  const script = await unpacked(text("engine"), size);
  return new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
}

export class Model {
  /** know: the page's facts of the model. timing: a list that each call's milliseconds are added to. */
  constructor(know, timing) {
    Object.assign(this, { know, timing, waiting: new Map(), count: 0 });
    this.port = thread(know.bytes.engine).then((port) => {
      port.onmessage = ({ data }) => this.answered(data);
      port.onerror = (event) => this.failed(event.message || "the model's thread could not start");
      return port;
    });
    this.ready = this.send({ start: { runtime: text("runtime"), weights: text("weights"), bytes: know.bytes, places: know.places, widths: know.widths, graphs: know.graphs } })
      .then(() => this.warm(["decode", "encode", "sample", "weigh", "prior"]));
  }

  can(name) {
    return name in this.know.graphs;
  }

  why(name) {
    return this.know.without[name] || "";
  }

  /** Makes the first function ready, and the others behind it while nobody waits for an answer. */
  async warm(names) {
    const [first, ...others] = names.filter((name) => this.can(name));
    await this.send({ warm: first });
    this.behind(others);
  }

  async behind(names) {
    for (const name of names) {
      while (this.waiting.size) await new Promise((done) => setTimeout(done, REST));
      await this.send({ warm: name }).catch(() => {});
    }
  }

  async send(message) {
    const port = await this.port, id = ++this.count;
    return new Promise((done, failed) => {
      this.waiting.set(id, { done, failed });
      port.postMessage({ id, ...message });
    });
  }

  answered({ id, found, error }) {
    const { done, failed } = this.waiting.get(id);
    this.waiting.delete(id);
    if (error === undefined) done(found);
    else failed(new Error(error));
  }

  failed(reason) {
    for (const { failed } of this.waiting.values()) failed(new Error(reason));
    this.waiting.clear();
  }

  async run(name, rows, n, seed = 0) {
    if (!this.can(name)) throw new Error(this.why(name) || `this model has no ${name}`);
    const { inputs, normals, uniforms } = this.know.graphs[name];
    const noise = { normal: () => [normal(n * normals, seed), n], uniform: () => [uniform(n * uniforms, seed), n] };
    const feeds = {};
    for (const input of inputs) {
      const [data, count] = noise[input] ? noise[input]() : rows[input];
      if (!data) throw new Error(`${name} needs ${input}`);
      feeds[input] = { data, dims: [count, ...this.shape(input, data.length / count)] };
    }
    const { outputs, took } = await this.send({ name, feeds });
    this.timing.push({ name, n, took });
    return outputs;
  }

  shape(input, size) {
    const { image, latent } = this.know;
    return input === "x" ? image : input === "z" ? latent : [size];
  }

  async decode(z, n, context) {
    return (await this.run("decode", { z: [z, n], context: [context, n] }, n)).mean;
  }

  encode(x, n, context) {
    return this.run("encode", { x: [x, n], context: [context, n] }, n);
  }

  weigh(x, n, seed, context) {
    return this.run("weigh", { x: [x, 1], context: [context, 1] }, n, seed);
  }

  async prior(n, seed, context) {
    return (await this.run("prior", { context: [context, n] }, n, seed)).z;
  }

  sample(n, seed, context) {
    return this.run("sample", { context: [context, n] }, n, seed);
  }
}
