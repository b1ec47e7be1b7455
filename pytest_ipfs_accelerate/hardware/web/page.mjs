// One page of ONNX Runtime Web. The host process calls `ipfs.…` over the DevTools protocol; tensors travel as bytes, in the
// form of safetensors: eight bytes with the length of a JSON header, the header, and the numbers as they lie in memory.

// Everything that is logged, from before the runtime is there: it says where it places each node, and nowhere else.
const lines = [];
for (const level of ['debug', 'log', 'info', 'warn', 'error']) {
  console[level] = (...words) => void lines.push(words.map(String).join(' '));
}

// What the GPU was given to do, counted where the browser takes it: no runtime can fall back behind this.
const gpu = { dispatches: 0, errors: [] };
if (globalThis.GPUComputePassEncoder) {
  for (const name of ['dispatchWorkgroups', 'dispatchWorkgroupsIndirect']) {
    const plain = GPUComputePassEncoder.prototype[name];
    GPUComputePassEncoder.prototype[name] = function (...sizes) {
      gpu.dispatches += 1;
      return plain.apply(this, sizes);
    };
  }
}

const TYPES = {
  F32: ['float32', Float32Array],
  F64: ['float64', Float64Array],
  F16: ['float16', globalThis.Float16Array ?? Uint16Array],
  I64: ['int64', BigInt64Array],
  I32: ['int32', Int32Array],
  I16: ['int16', Int16Array],
  I8: ['int8', Int8Array],
  U64: ['uint64', BigUint64Array],
  U32: ['uint32', Uint32Array],
  U16: ['uint16', Uint16Array],
  U8: ['uint8', Uint8Array],
  BOOL: ['bool', Uint8Array],
};
const NAMES = Object.fromEntries(Object.entries(TYPES).map(([short, [name]]) => [name, short]));

const sessions = new Map();
let ort, providers;

const received = async (number) => (await fetch(`in/${number}`)).arrayBuffer();

function unpacked(buffer) {
  const start = 8 + Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, start - 8)));
  const feeds = {};
  for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(header)) {
    const [type, Numbers] = TYPES[dtype];
    feeds[name] = new ort.Tensor(type, new Numbers(buffer.slice(start + from, start + to)), shape);
  }
  return feeds;
}

function packed(tensors) {
  const header = {};
  let end = 0;
  for (const [name, tensor] of Object.entries(tensors)) {
    header[name] = { dtype: NAMES[tensor.type], shape: tensor.dims, data_offsets: [end, (end += tensor.data.byteLength)] };
  }
  let text = JSON.stringify(header);
  text += ' '.repeat(-new TextEncoder().encode(text).length & 7);
  const head = new TextEncoder().encode(text);
  const whole = new Uint8Array(8 + head.length + end);
  new DataView(whole.buffer).setBigUint64(0, BigInt(head.length), true);
  whole.set(head, 8);
  for (const [name, { data }] of Object.entries(tensors)) {
    const place = 8 + head.length + header[name].data_offsets[0];
    whole.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), place);
  }
  return whole;
}

const described = ({ vendor, architecture, device, description, driver, backend, type, isFallbackAdapter }) => ({
  vendor, architecture, device, description, driver, backend, type, fallback: Boolean(isFallbackAdapter),
});

globalThis.ipfs = {
  // What adapter WebGPU offers, null where it offers none.
  async adapter() {
    const found = await navigator.gpu?.requestAdapter();
    return found ? described(found.info) : null;
  },

  // Loads the runtime for one execution provider; its version.
  async start(provider, threads) {
    ort = await import(`./ort/ort.${provider}.min.mjs`);
    ort.env.wasm.wasmPaths = new URL('./ort/', location.href).href;
    ort.env.wasm.numThreads = threads;
    ort.env.logLevel = 'verbose';
    providers = [provider];
    return { version: ort.env.versions.web, isolated: crossOriginIsolated };
  },

  // Opens a session under a number of its own; what was logged over it, and what it takes and gives.
  async open(number, options) {
    lines.length = 0;
    const model = new Uint8Array(await received(number));
    const session = await ort.InferenceSession.create(model, { executionProviders: providers, logSeverityLevel: 0, ...options });
    sessions.set(number, session);
    if (providers[0] === 'webgpu' && !gpu.device) {
      gpu.device = await ort.env.webgpu.device;
      gpu.device.addEventListener('uncapturederror', ({ error }) => gpu.errors.push(error.message));
      gpu.device.lost.then(({ reason, message }) => gpu.errors.push(`device lost (${reason}): ${message}`));
    }
    return { log: lines.splice(0), inputs: session.inputNames, outputs: session.outputNames };
  },

  // Runs a session on the tensors of a number, and sends what comes out under the same number.
  async run(session, number) {
    const before = gpu.dispatches;
    lines.length = 0;
    const outputs = await sessions.get(session).run(unpacked(await received(number)));
    await fetch(`out/${number}`, { method: 'POST', body: packed(outputs) });
    return { dispatches: gpu.dispatches - before, errors: gpu.errors.splice(0) };
  },

  async release(number) {
    await sessions.get(number).release();
    sessions.delete(number);
  },

  // The adapter of the device that the runtime computes on.
  device: () => (gpu.device ? described(gpu.device.adapterInfo) : null),
};
