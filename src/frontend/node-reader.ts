// NodeReader over a SourceNode: attributes with checked types and defaults, and what shape folding knows of the
// inputs. Wrong attribute types are the file's fault (E203) and name the attribute.

import type { Builder } from '../ir/builder.js';
import { isConst, type Dim } from '../ir/dim.js';
import type { Value } from '../ir/tensor.js';
import { DTYPES, type DType, isFloat } from '../support/dtype.js';
import { CompileError } from '../support/errors.js';
import { STORAGE, type Tensor, type TypedArray } from '../support/tensor.js';
import { elementType } from './onnx/element-type.js';
import type { NodeReader } from './ops/record.js';
import type { AttrValue, SourceNode } from './source.js';

type Kind = AttrValue['kind'];
type ValueOf<K extends Kind> = Extract<AttrValue, { kind: K }>['value'];

export function createNodeReader(node: SourceNode, inputs: readonly (Value | undefined)[], b: Builder): NodeReader {
  /** The attribute as one of `kinds`, the fallback where absent. */
  function attr<K extends Kind, T>(name: string, kinds: readonly K[], fallback: T | undefined): ValueOf<K> | T {
    const a = node.attrs.get(name);
    if (!a) {
      if (fallback === undefined) throw new CompileError('E203', `attribute "${name}" is missing`);
      return fallback;
    }
    if (!(kinds as readonly Kind[]).includes(a.kind))
      throw new CompileError('E203', `attribute "${name}" is ${a.kind}, not ${kinds.join(' or ')}`);
    return a.value as never;
  }

  /** Empty lists have no kind of their own in ONNX. */
  const list = <T>(name: string, kinds: readonly Kind[], fallback: readonly T[] | undefined): readonly unknown[] =>
    attr(name, kinds, fallback) as readonly unknown[];

  const tryDims = (i: number): readonly Dim[] | undefined => {
    const v = inputs[i];
    return v ? (b.values(v) ?? undefined) : undefined;
  };

  return {
    source: node,
    version: node.version,
    inputCount: node.inputs.length,
    outputCount: node.outputs.length,
    has: (name) => node.attrs.has(name),
    float: (name, fallback) => Number(attr(name, ['float', 'int'], fallback)),
    int: (name, fallback) => Number(attr(name, ['int', 'bool'], fallback)),
    bool: (name, fallback) => Boolean(Number(attr(name, ['bool', 'int'], fallback))),
    string: (name, fallback) => String(attr(name, ['string'], fallback)),
    floats: (name, fallback) => list(name, ['floats', 'ints'], fallback).map(Number),
    ints: (name, fallback) => list(name, ['ints', 'floats'], fallback).map(Number),
    strings: (name, fallback) => list(name, ['strings', 'ints', 'floats'], fallback).map(String),
    tensor: (name) => (node.attrs.has(name) ? attr<'tensor', never>(name, ['tensor'], undefined) : undefined),
    graph: (name) => attr<'graph', never>(name, ['graph'], undefined),
    dtype(name, fallback) {
      const a = attr(name, ['int', 'string'], fallback);
      const t = typeof a === 'bigint' ? elementType(Number(a))?.dtype : DTYPES.find((d) => d === a);
      if (!t) throw new CompileError('E202', `attribute "${name}" names element type ${a}, which is not known`);
      return t;
    },
    input: (i) => inputs[i],
    tryDims,
    dims(i) {
      const v = inputs[i];
      if (!v) return undefined;
      const dims = b.values(v);
      if (!dims)
        throw new CompileError('E207', `input ${i} must not depend on data here`, {
          hint: 'Fix the sizes it is computed from with --dim, or simplify the model first',
        });
      return dims;
    },
    constant(i) {
      const v = inputs[i];
      return v && constantOf(v, b);
    },
  };
}

/** Contents of a value that is constant, or folds to one. */
export function constantOf(v: Value, b: Builder): Tensor | undefined {
  if (v.node?.kind === 'const') return v.node.data.read();
  const dims = b.values(v);
  if (!dims?.every(isConst)) return undefined;
  return tensorFromNumbers(v.type.dtype, v.type.shape as number[], dims as readonly number[]);
}

export function tensorFromNumbers(
  dtype: DType,
  shape: readonly number[],
  values: readonly number[],
): Tensor | undefined {
  if (dtype === 'string' || (isFloat(dtype) && dtype !== 'f32' && dtype !== 'f64')) return undefined;
  if (!isFloat(dtype) && !values.every(Number.isSafeInteger)) return undefined;
  const data: TypedArray = new STORAGE[dtype](values.length);
  for (const [k, x] of values.entries()) data[k] = dtype === 'i64' || dtype === 'u64' ? BigInt(x) : x;
  return { dtype, shape, data };
}
