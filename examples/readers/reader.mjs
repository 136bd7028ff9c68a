// Read a vector with Node alone, and check an Elman step with it.
//
//     node reader.mjs FOLDER/elman/basic.safetensors
//
// Exit code 1 if an output differs by more than 1e-12.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const TYPES = { F64: Float64Array, F32: Float32Array, I64: BigInt64Array };

// Return the manifest, and name -> {shape, data} of every array.
function read(path) {
  const bytes = readFileSync(path);
  const manifest = JSON.parse(
    readFileSync(path.replace(/\.safetensors$/, ".json"), "utf8"));
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  if (sha256 !== manifest.checksum)
    throw new Error(`${path} is not the file that its manifest describes`);
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, start));
  delete header.__metadata__;
  const arrays = {};
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    const [begin, end] = data_offsets.map((offset) => start + offset);
    // A copy, since typed arrays must begin at a multiple of their item.
    // They read in the machine's byte order: little-endian, as in the file.
    const data = new TYPES[dtype](new Uint8Array(bytes.subarray(begin, end)).buffer);
    if (data.length !== shape.reduce((product, n) => product * n, 1))
      throw new Error(`${name} has another size`);
    arrays[name] = { shape, data };
  }
  return { manifest, arrays };
}

const { manifest, arrays } = read(process.argv[2]);
console.log(`${manifest.name} - ${manifest.breaks}`);
for (const name of Object.keys(arrays).sort())
  console.log(`  ${name} (${arrays[name].shape.join(", ")})`);

const [nTime, nBatch, nIn] = arrays.x.shape;
const nHid = arrays["params/b_h"].shape[0];
const x = arrays.x.data, y = arrays.y.data;
const W_xh = arrays["params/W_xh"].data, W_hh = arrays["params/W_hh"].data;
const b_h = arrays["params/b_h"].data;
let h = arrays["state0/h"].data;
let worst = 0;
for (let t = 0; t < nTime; t++) {
  const next = new Float64Array(nBatch * nHid);
  for (let b = 0; b < nBatch; b++)
    for (let j = 0; j < nHid; j++) {
      let a = b_h[j];
      for (let i = 0; i < nIn; i++)
        a += x[(t * nBatch + b) * nIn + i] * W_xh[i * nHid + j];
      for (let i = 0; i < nHid; i++)
        a += h[b * nHid + i] * W_hh[i * nHid + j];
      next[b * nHid + j] = Math.tanh(a);
      const wanted = y[(t * nBatch + b) * nHid + j];
      worst = Math.max(worst, Math.abs(next[b * nHid + j] - wanted));
    }
  h = next;
}
console.log(`y recomputed: largest difference ${worst.toExponential(1)}`);
process.exit(worst <= 1e-12 ? 0 : 1); // NaN is a failure too
