// Builds small ONNX files for tests with the generated encoder: plain objects in, bytes out.

import { onnx } from '../../src/frontend/onnx/generated/onnx.js';

export type Node = onnx.NodeProto.$Properties;
export type Attribute = onnx.AttributeProto.$Properties;
export type Graph = onnx.GraphProto.$Properties;
export type TensorFields = onnx.TensorProto.$Properties;

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** `node('Add', ['a', 'b'], ['c'])` */
export const node = (op_type: string, input: string[], output: string[], more: Partial<Node> = {}): Node => ({
  op_type,
  input,
  output,
  ...more,
});

export const intAttr = (name: string, i: number): Attribute => ({ name, type: 2, i });
export const floatAttr = (name: string, f: number): Attribute => ({ name, type: 1, f });
export const stringAttr = (name: string, s: string): Attribute => ({ name, type: 3, s: utf8(s) });
export const graphAttr = (name: string, g: Graph): Attribute => ({ name, type: 5, g });
/** The value of a function's attribute `ref`. */
export const refAttr = (name: string, ref: string, type: number): Attribute => ({ name, type, ref_attr_name: ref });

/** A float input or output; dims are sizes or symbols. */
export function value(name: string, dims: (number | string)[] = [2], elem_type = 1): onnx.ValueInfoProto.$Properties {
  const dim = dims.map((d) => (typeof d === 'number' ? { dim_value: d } : { dim_param: d }));
  return { name, type: { tensor_type: { elem_type, shape: { dim } } } };
}

export const floats = (name: string, dims: number[], data: number[]): TensorFields => ({
  name,
  dims,
  data_type: 1,
  float_data: data,
});

/** A graph with input x and output y, unless told otherwise. */
export const graph = (nodes: Node[], more: Partial<Graph> = {}): Graph => ({
  name: 'g',
  node: nodes,
  input: [value('x')],
  output: [value('y')],
  ...more,
});

export const encodeModel = (g: Graph, more: Partial<onnx.ModelProto.$Properties> = {}): Uint8Array =>
  Uint8Array.from(
    onnx.ModelProto.encode({ ir_version: 10, opset_import: [{ domain: '', version: 21 }], graph: g, ...more }).finish(),
  );

export const encodeTensor = (t: TensorFields): Uint8Array => Uint8Array.from(onnx.TensorProto.encode(t).finish());
