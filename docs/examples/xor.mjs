// Writes xor.onnx, the smallest network worth the name: two inputs, two hidden neurons, one output; y is 1 where exactly
// one of the two inputs is. The examples in README.md and docs/adding-an-op.md compile it. Run it in a clone, after `npm install`.

import { writeFileSync } from 'node:fs';
import { onnx } from '../../dist/frontend/onnx/generated/onnx.js';

const FLOAT = 1;
const value = (name, dims) => {
  const dim = dims.map((d) => (typeof d === 'number' ? { dim_value: d } : { dim_param: d }));
  return { name, type: { tensor_type: { elem_type: FLOAT, shape: { dim } } } };
};
const floats = (name, dims, float_data) => ({ name, dims, float_data, data_type: FLOAT });
const node = (op_type, input, output, domain = '') => ({ op_type, input, output: [output], name: output, domain });

// y = relu(x·W1 + b1)·W2; the activation between can be another operator, to try plugins on: `node xor.mjs FILE my.ops:Hinge`.
const [file = 'xor.onnx', activation = 'Relu'] = process.argv.slice(2);
const [op, domain = ''] = activation.split(':').reverse();
const model = {
  ir_version: 8,
  producer_name: 'heddle example',
  opset_import: [{ version: 17 }, ...(domain ? [{ domain, version: 1 }] : [])],
  graph: {
    name: 'xor',
    input: [value('x', ['n', 2])],
    output: [value('y', ['n', 1])],
    initializer: [floats('W1', [2, 2], [1, 1, 1, 1]), floats('b1', [2], [0, -1]), floats('W2', [2, 1], [1, -2])],
    node: [
      node('MatMul', ['x', 'W1'], 'weighted'),
      node('Add', ['weighted', 'b1'], 'biased'),
      node(op, ['biased'], 'hidden', domain),
      node('MatMul', ['hidden', 'W2'], 'y'),
    ],
  },
};
writeFileSync(file, onnx.ModelProto.encode(model).finish());
console.error(`wrote ${file}`);
