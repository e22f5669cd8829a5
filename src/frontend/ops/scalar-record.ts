// Two shapes of record that dozens of operators share: one operand, or two that broadcast, element by element.
// Both take a scalar function; everything else (old broadcasting, fused activations) stands here once.

import type { Builder } from '../../ir/builder.js';
import type { Dim } from '../../ir/dim.js';
import type { Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { CompileError } from '../../support/errors.js';
import { activate, activationOf, type FusedActivation } from './fused-activation.js';
import { integerIfAll } from './quantized/hybrid.js';
import { type AnyRecord, type Decode, type OpRecord, op } from './record.js';

type Names = string | readonly string[];

interface ScalarSpec {
  readonly doc: string;
  /** 'Sin@7', or several. */
  readonly onnx?: Names;
  readonly tflite?: Names;
  readonly tolerance?: OpRecord['tolerance'];
  readonly examples?: OpRecord['examples'];
}

interface UnarySpec extends ScalarSpec {
  readonly quantized?: NonNullable<OpRecord<'x', object>['quantized']>;
}

interface BinarySpec extends ScalarSpec {
  readonly quantized?: NonNullable<OpRecord<'x' | 'y', BinaryAttrs>['quantized']>;
  /** The ONNX operator dates from opset 1, where broadcasting was an attribute and one-sided. */
  readonly legacy?: boolean;
  /** What the operator is for text, which a host compares. */
  readonly strings?: (b: Builder, x: Value, y: Value) => Value;
  /** Operands need not have the same element type. */
  readonly mixed?: boolean;
}

/** Decoded attributes of a two-operand record. */
export interface BinaryAttrs {
  /** Where B's axes start among A's. */
  readonly axis?: number;
  readonly activation?: FusedActivation;
}

const names = (x: Names | undefined): readonly string[] => (x === undefined ? [] : typeof x === 'string' ? [x] : x);

/** The same decoding under several keys. */
export const each = <A>(keys: Names | undefined, decode: Decode<A>): Readonly<Record<string, Decode<A>>> =>
  Object.fromEntries(names(keys).map((k) => [k, decode]));

const optional = ({ tolerance, examples }: ScalarSpec) => ({
  ...(tolerance && { tolerance }),
  ...(examples && { examples }),
});

/** y = f(x) for each element. 'float': narrow floats are computed in f32 and rounded once. */
export const unary = (
  name: string,
  spec: UnarySpec,
  f: (x: Expr) => Expr,
  how: 'float' | 'exact' = 'float',
): AnyRecord => {
  const lower: Lower<'x', object> = ({ x }, _a, b) => (how === 'float' ? b.mapFloat([x], f) : b.map([x], f));
  return op<'x', object>(name, {
    doc: spec.doc,
    inputs: ['x'],
    onnx: each(spec.onnx, () => ({})),
    tflite: each(spec.tflite, () => ({})),
    lower,
    ...optional(spec),
    ...(spec.quantized && { quantized: withFloats(lower, spec.quantized) }),
  });
};

type Lower<S extends string, A> = NonNullable<OpRecord<S, A>['lower']>;
type Quantized<S extends string, A> = NonNullable<OpRecord<S, A>['quantized']>;

/** A file may mix floats with integers in one node. */
const withFloats = <S extends string, A>(lower: Lower<S, A>, quantized: Quantized<S, A>): Quantized<S, A> =>
  typeof quantized === 'function' ? integerIfAll(lower, quantized) : quantized;

const legacyBroadcast: Decode<BinaryAttrs> = (n) =>
  n.bool('broadcast', false) && n.has('axis') ? { axis: n.int('axis') } : {};

const modernBroadcast: Decode<BinaryAttrs> = () => ({});

const fusedDecode: Decode<BinaryAttrs> = (n) => ({ activation: activationOf(n) });

/** z = f(x, y) for each pair, with numpy broadcasting. */
export const binary = (name: string, spec: BinarySpec, f: (x: Expr, y: Expr) => Expr): AnyRecord => {
  const lower: Lower<'x' | 'y', BinaryAttrs> = ({ x, y }, a, b) => {
    if (!spec.mixed && x.type.dtype !== y.type.dtype)
      throw new CompileError('E204', `element types ${x.type.dtype} and ${y.type.dtype} must be equal`);
    if (spec.strings && x.type.dtype === 'string') return spec.strings(b, x, y);
    return b.map([x, alignAxes(b, x, y, a.axis)], (p, q) => activate(f(p, q), a.activation ?? 'NONE'));
  };
  return op<'x' | 'y', BinaryAttrs>(name, {
    doc: spec.doc,
    inputs: ['x', 'y'],
    onnx: spec.legacy
      ? { [`${spec.onnx}@1`]: legacyBroadcast, [`${spec.onnx}@7`]: modernBroadcast }
      : each(spec.onnx, modernBroadcast),
    tflite: each(spec.tflite, fusedDecode),
    lower,
    ...optional(spec),
    ...(spec.quantized && { quantized: withFloats(lower, spec.quantized) }),
  });
};

/** Gives y trailing axes of size 1 so that its own start at `axis` of x. */
export function alignAxes(b: Builder, x: Value, y: Value, axis: number | undefined): Value {
  if (axis === undefined || y.type.shape.length === 0) return y;
  const start = axis < 0 ? axis + x.type.shape.length : axis;
  const trailing = x.type.shape.length - start - y.type.shape.length;
  if (trailing < 0) throw new CompileError('E203', `axis ${axis} leaves no room for ${y.type.shape.length} axes`);
  return b.reshape(y, [...y.type.shape, ...Array.from({ length: trailing }, (): Dim => 1)]);
}
