// The operators every runtime is judged by, as ONNX models of one node: weights are constants, as in a model. Values come
// from a generator with a seed, so the files are the same every time.

import { onnx } from '../dist/frontend/onnx/generated/onnx.js';
import { createRandom } from '../dist/cli/run-inputs.js';

const [FLOAT, UINT8, INT8, INT32] = [1, 2, 3, 6];

const value = (name, dims, elem_type = FLOAT) => ({
  name,
  type: { tensor_type: { elem_type, shape: { dim: dims.map((d) => ({ dim_value: d })) } } },
});

const size = (dims) => dims.reduce((n, d) => n * d, 1);

/** Floats in ±0.1, so that sums stay small. */
function floats(name, dims, seed = 1) {
  const random = createRandom(seed);
  const data = Float32Array.from({ length: size(dims) }, () => (random() * 2 - 1) / 10);
  return { name, dims, data_type: FLOAT, raw_data: new Uint8Array(data.buffer) };
}

function bytes(name, dims, data_type, seed = 1) {
  const random = createRandom(seed);
  return { name, dims, data_type, raw_data: Uint8Array.from({ length: size(dims) }, () => random() * 256) };
}

const scalarByte = (name, data_type, v) => ({ name, dims: [], data_type, raw_data: Uint8Array.of(v) });

const int = (name, i) => ({ name, type: 2, i });
const ints = (name, list) => ({ name, type: 7, ints: list });

/** A model of one node called by its op. */
function single(op_type, inputs, output, constants = [], attribute = []) {
  const input = [...inputs, ...constants].map((v) => v.name);
  const node = [{ op_type, name: op_type.toLowerCase(), input, output: [output.name], attribute }];
  const graph = { name: op_type, node, input: inputs, output: [output], initializer: constants };
  return encode(graph);
}

const encode = (graph) =>
  onnx.ModelProto.encode({
    ir_version: 8,
    opset_import: [{ domain: '', version: 17 }],
    producer_name: 'bench',
    graph,
  }).finish();

function conv(channels, filters, side, kernel, group = 1) {
  const pad = (kernel - 1) / 2;
  return single(
    'Conv',
    [value('x', [1, channels, side, side])],
    value('y', [1, filters, side, side]),
    [floats('w', [filters, channels / group, kernel, kernel]), floats('b', [filters], 2)],
    [ints('kernel_shape', [kernel, kernel]), ints('pads', [pad, pad, pad, pad]), int('group', group)],
  );
}

/** a·b with b constant. */
export const matMul = (m, k, n) => single('MatMul', [value('a', [m, k])], value('y', [m, n]), [floats('b', [k, n])]);

const matMulOfInputs = (m, k, n) => single('MatMul', [value('a', [m, k]), value('b', [k, n])], value('y', [m, n]));

const matMulInteger = (m, k, n) =>
  single('MatMulInteger', [value('a', [m, k], UINT8)], value('y', [m, n], INT32), [
    bytes('b', [k, n], INT8),
    scalarByte('a_zero_point', UINT8, 128),
  ]);

/** File names and how to make them. */
export const SINGLE_OPS = {
  matmul_512: () => matMul(512, 512, 512),
  matmul_512_inputs: () => matMulOfInputs(512, 512, 512),
  conv3x3_64_56: () => conv(64, 64, 56, 3),
  conv1x1_64_56: () => conv(64, 64, 56, 1),
  depthwise3x3_64_56: () => conv(64, 64, 56, 3, 64),
  softmax_12x128x128: () =>
    single('Softmax', [value('x', [12, 128, 128])], value('y', [12, 128, 128]), [], [int('axis', -1)]),
  layernorm_128x768: () =>
    single(
      'LayerNormalization',
      [value('x', [128, 768])],
      value('y', [128, 768]),
      [floats('scale', [768]), floats('bias', [768], 2)],
      [int('axis', -1)],
    ),
  erf_393k: () => single('Erf', [value('x', [128, 3072])], value('y', [128, 3072])),
  add_200k: () => single('Add', [value('a', [200000]), value('b', [200000])], value('y', [200000])),
  matmulinteger_512: () => matMulInteger(512, 512, 512),
};

/** How the time grows with the size: no cliffs wanted. */
export const GEMM_SIZES = Object.fromEntries(
  [64, 96, 100, 128, 192, 256, 384, 500, 512, 768, 1024, 1536, 2048].map((n) => [`gemm_${n}`, () => matMul(n, n, n)]),
);
