// How each scalar operation and conversion is spelled, type by type: a list of instructions over operands already
// on the stack, or a function that writes them. `null` is an operation the type does not have. Vectors: vector-cells.ts.

import { isPrimitive, type PrimitiveOp, type ScalarOp } from '../../ir/scalar.js';
import { invariant } from '../../support/errors.js';
import type { CodeWriter } from './code.js';
import type { ValueType } from './encoder.js';
import type { Instruction } from './opcodes.js';

/** The types a legalized kernel computes with. */
export const COMPUTE_TYPES = ['i32', 'u32', 'i64', 'u64', 'f32', 'f64', 'i1'] as const;
export type ComputeType = (typeof COMPUTE_TYPES)[number];

export const VALUE_TYPE_OF: Record<ComputeType, ValueType> = {
  i32: 'i32',
  u32: 'i32',
  i64: 'i64',
  u64: 'i64',
  f32: 'f32',
  f64: 'f64',
  i1: 'i32',
};

export const isComputeType = (t: string): t is ComputeType => t in VALUE_TYPE_OF;

export type Cell = readonly Instruction[] | ((c: CodeWriter) => void);

export function writeCell(c: CodeWriter, cell: Cell): void {
  if (typeof cell === 'function') cell(c);
  else c.op(...cell);
}

/** The cell of `op` on `type`; ours to fix where the type does not have it. */
export function scalarCell(op: ScalarOp, type: ComputeType): Cell {
  const cell = isPrimitive(op) ? SCALAR_CELLS[type][op] : null;
  invariant(cell !== null, `WebAssembly has no ${op} on ${type}; legalize should have expressed it otherwise`);
  return cell;
}

/** Whichever operand stands in relation `relation`: the first where it holds, else the second. */
const choose =
  (type: 'i32' | 'i64', relation: Instruction): Cell =>
  (c) => {
    const [a, b] = [c.local(type), c.local(type)];
    c.set(b);
    c.tee(a);
    c.get(b);
    c.get(a);
    c.get(b);
    c.op(relation, 'select');
    c.free(a, b);
  };

const constant = (c: CodeWriter, type: 'i32' | 'i64', value: number): void =>
  type === 'i32' ? c.i32(value) : c.i64(BigInt(value));

const negate =
  (type: 'i32' | 'i64'): Cell =>
  (c) => {
    constant(c, type, -1);
    c.op(`${type}.mul`);
  };

/** (x ^ s) − s where s is the sign, 0 or −1. */
const absolute =
  (type: 'i32' | 'i64'): Cell =>
  (c) => {
    const sign = c.local(type);
    const x = c.local(type);
    c.tee(x);
    c.get(x);
    constant(c, type, type === 'i32' ? 31 : 63);
    c.op(`${type}.shr_s`);
    c.tee(sign);
    c.op(`${type}.xor`);
    c.get(sign);
    c.op(`${type}.sub`);
    c.free(sign, x);
  };

/** High half of a 32-bit product, by way of 64 bits. */
const highOf32 =
  (extend: 'i64.extend_i32_s' | 'i64.extend_i32_u'): Cell =>
  (c) => {
    const b = c.local('i32');
    c.set(b);
    c.op(extend);
    c.get(b);
    c.op(extend, 'i64.mul');
    c.i64(32n);
    c.op('i64.shr_u', 'i32.wrap_i64');
    c.free(b);
  };

/** High half of an unsigned 64-bit product from four 32-bit ones: Knuth, The Art of Computer Programming 2, 4.3.1. */
const unsignedHighOf64: Cell = (c) => {
  const [a, b, t, w] = [c.local('i64'), c.local('i64'), c.local('i64'), c.local('i64')];
  const low = (x: typeof a): void => {
    c.get(x);
    c.i64(0xffffffffn);
    c.op('i64.and');
  };
  const high = (x: typeof a): void => {
    c.get(x);
    c.i64(32n);
    c.op('i64.shr_u');
  };
  c.set(b);
  c.set(a);
  low(a);
  low(b);
  c.op('i64.mul');
  c.set(t);
  high(a);
  low(b);
  c.op('i64.mul');
  high(t);
  c.op('i64.add');
  c.set(t);
  low(a);
  high(b);
  c.op('i64.mul');
  low(t);
  c.op('i64.add');
  c.set(w);
  high(a);
  high(b);
  c.op('i64.mul');
  high(t);
  c.op('i64.add');
  high(w);
  c.op('i64.add');
  c.free(a, b, t, w);
};

/** The unsigned high half, less b where a is negative, less a where b is. */
const signedHighOf64: Cell = (c) => {
  const [a, b] = [c.local('i64'), c.local('i64')];
  c.set(b);
  c.tee(a);
  c.get(b);
  writeCell(c, unsignedHighOf64);
  for (const [x, y] of [
    [a, b],
    [b, a],
  ] as const) {
    c.get(x);
    c.i64(63n);
    c.op('i64.shr_s');
    c.get(y);
    c.op('i64.and', 'i64.sub');
  }
  c.free(a, b);
};

type Row = Record<PrimitiveOp, Cell | null>;

const integerRow = (t: 'i32' | 'i64', signed: boolean): Row => {
  const s = signed ? 's' : 'u';
  const high = t === 'i32' ? { u: highOf32('i64.extend_i32_u'), s: highOf32('i64.extend_i32_s') } : null;
  return {
    add: [`${t}.add`],
    sub: [`${t}.sub`],
    mul: [`${t}.mul`],
    div: [`${t}.div_${s}`],
    rem: [`${t}.rem_${s}`],
    min: choose(t, `${t}.lt_${s}`),
    max: choose(t, `${t}.gt_${s}`),
    and: [`${t}.and`],
    or: [`${t}.or`],
    xor: [`${t}.xor`],
    shl: [`${t}.shl`],
    shr_s: [`${t}.shr_s`],
    shr_u: [`${t}.shr_u`],
    neg: negate(t),
    abs: signed ? absolute(t) : [],
    floor: [],
    ceil: [],
    trunc: [],
    rint: [],
    sqrt: null,
    eq: [`${t}.eq`],
    lt: [`${t}.lt_${s}`],
    le: [`${t}.le_${s}`],
    mulhi_u: high ? high.u : unsignedHighOf64,
    mulhi_s: high ? high.s : signedHighOf64,
    clz: [`${t}.clz`],
    popcnt: [`${t}.popcnt`],
  };
};

const floatRow = (t: 'f32' | 'f64'): Row => ({
  add: [`${t}.add`],
  sub: [`${t}.sub`],
  mul: [`${t}.mul`],
  div: [`${t}.div`],
  rem: null,
  min: [`${t}.min`],
  max: [`${t}.max`],
  and: null,
  or: null,
  xor: null,
  shl: null,
  shr_s: null,
  shr_u: null,
  neg: [`${t}.neg`],
  abs: [`${t}.abs`],
  floor: [`${t}.floor`],
  ceil: [`${t}.ceil`],
  trunc: [`${t}.trunc`],
  rint: [`${t}.nearest`],
  sqrt: [`${t}.sqrt`],
  eq: [`${t}.eq`],
  lt: [`${t}.lt`],
  le: [`${t}.le`],
  mulhi_u: null,
  mulhi_s: null,
  clz: null,
  popcnt: null,
});

/** Truth values are 0 and 1, so order and arithmetic on them are logic. */
const boolRow: Row = {
  ...integerRow('i32', false),
  add: ['i32.or'],
  mul: ['i32.and'],
  min: ['i32.and'],
  max: ['i32.or'],
  sub: null,
  div: null,
  rem: null,
  shl: null,
  shr_s: null,
  shr_u: null,
  neg: null,
  mulhi_u: null,
  mulhi_s: null,
  clz: null,
  popcnt: null,
};

export const SCALAR_CELLS = {
  i32: integerRow('i32', true),
  u32: integerRow('i32', false),
  i64: integerRow('i64', true),
  u64: integerRow('i64', false),
  f32: floatRow('f32'),
  f64: floatRow('f64'),
  i1: boolRow,
} satisfies Record<ComputeType, Row>;

const zeroTest =
  (t: 'f32' | 'f64'): Cell =>
  (c) => {
    if (t === 'f32') c.f32(0);
    else c.f64(0);
    c.op(`${t}.ne`);
  };

const from32 = (s: 's' | 'u'): Record<ComputeType, Cell> => ({
  i32: [],
  u32: [],
  i64: [`i64.extend_i32_${s}`],
  u64: [`i64.extend_i32_${s}`],
  f32: [`f32.convert_i32_${s}`],
  f64: [`f64.convert_i32_${s}`],
  i1: ['i32.eqz', 'i32.eqz'],
});

const from64 = (s: 's' | 'u'): Record<ComputeType, Cell> => ({
  i32: ['i32.wrap_i64'],
  u32: ['i32.wrap_i64'],
  i64: [],
  u64: [],
  f32: [`f32.convert_i64_${s}`],
  f64: [`f64.convert_i64_${s}`],
  i1: ['i64.eqz', 'i32.eqz'],
});

const fromFloat = (t: 'f32' | 'f64'): Record<ComputeType, Cell> => ({
  i32: [`i32.trunc_sat_${t}_s`],
  u32: [`i32.trunc_sat_${t}_u`],
  i64: [`i64.trunc_sat_${t}_s`],
  u64: [`i64.trunc_sat_${t}_u`],
  f32: t === 'f32' ? [] : ['f32.demote_f64'],
  f64: t === 'f64' ? [] : ['f64.promote_f32'],
  i1: zeroTest(t),
});

/** CAST_CELLS[from][to]. */
export const CAST_CELLS = {
  i32: from32('s'),
  u32: from32('u'),
  i64: from64('s'),
  u64: from64('u'),
  f32: fromFloat('f32'),
  f64: fromFloat('f64'),
  i1: { ...from32('u'), i1: [] },
} satisfies Record<ComputeType, Record<ComputeType, Cell>>;

const REINTERPRET: Readonly<Record<string, Cell>> = {
  'i32>f32': ['f32.reinterpret_i32'],
  'f32>i32': ['i32.reinterpret_f32'],
  'i64>f64': ['f64.reinterpret_i64'],
  'f64>i64': ['i64.reinterpret_f64'],
};

/** Keeps a value's bits; no instruction where both types share a WebAssembly type. */
export const bitcastCell = (from: ComputeType, to: ComputeType): Cell =>
  REINTERPRET[`${VALUE_TYPE_OF[from]}>${VALUE_TYPE_OF[to]}`] ?? [];
