// WGSL's cells of vectors of four 32-bit lanes. Most operators are those of scalars; helpers that look at values come in
// a form for vectors. A load or store of a whole vector names an element of a buffer of vectors (quads.ts sees to that);
// any other access goes lane by lane.

import type { PrimitiveOp } from '../../ir/scalar.js';
import { type DType, isFloat } from '../../support/dtype.js';
import { invariant } from '../../support/errors.js';
import type { StoredType, VectorCells } from '../lang.js';

export const LANES = 4;

const LANE_TYPES: Readonly<Partial<Record<DType, string>>> = { f32: 'f32', i32: 'i32', u32: 'u32', i1: 'bool' };

export function vectorType(t: DType | StoredType): string {
  const lane = LANE_TYPES[t as DType];
  invariant(lane, `WGSL has no vectors of ${t}`);
  return `vec4<${lane}>`;
}

const OPERATORS: Readonly<Partial<Record<PrimitiveOp, string>>> = {
  add: '$0 + $1',
  sub: '$0 - $1',
  mul: '$0 * $1',
  div: '$0 / $1',
  rem: '$0 % $1',
  neg: '-$0',
  abs: 'abs($0)',
  floor: 'floor($0)',
  ceil: 'ceil($0)',
  trunc: 'trunc($0)',
  rint: 'round($0)',
  sqrt: 'sqrt($0)',
  and: '(($0) & ($1))',
  or: '(($0) | ($1))',
  eq: '($0 == $1)',
  lt: '($0 < $1)',
  le: '($0 <= $1)',
  clz: 'countLeadingZeros($0)',
  popcnt: 'countOneBits($0)',
};

const COUNT = '(vec4<u32>($1) & vec4<u32>(31u))';

function operation(op: PrimitiveOp, type: DType): string {
  const signed = type === 'i32';
  const back = signed ? '$0' : 'bitcast<vec4<u32>>($0)';
  switch (op) {
    case 'min':
    case 'max':
      return type === 'f32' ? `@${op}_f32x4($0, $1)` : `${op}($0, $1)`;
    case 'xor':
      return type === 'i1' ? '($0 != $1)' : '(($0) ^ ($1))';
    case 'shl':
      return `(($0) << ${COUNT})`;
    case 'shr_u':
      return signed ? `bitcast<vec4<i32>>((bitcast<vec4<u32>>($0) >> ${COUNT}))` : `(($0) >> ${COUNT})`;
    case 'shr_s':
      return signed ? `(($0) >> ${COUNT})` : back.replace('$0', `(bitcast<vec4<i32>>($0) >> ${COUNT})`);
    case 'neg':
      return type === 'u32' ? 'vec4<u32>() - $0' : '-$0';
    default: {
      const cell = OPERATORS[op];
      invariant(cell, `WGSL has no ${op} on vectors`);
      return cell;
    }
  }
}

function castCell(from: DType, to: DType): string {
  if (from === to) return '$0';
  const into = vectorType(to);
  if (to === 'i1') return `($0 != ${vectorType(from)}())`;
  if (from === 'i1' || isFloat(to)) return `${into}($0)`;
  return isFloat(from) ? `@${to}_from_f32x4($0)` : `bitcast<${into}>($0)`;
}

const lanewise = (type: string, of: (lane: string) => string): string =>
  `${type}(${['x', 'y', 'z', 'w'].map(of).join(', ')})`;

export const WGSL_VECTORS: VectorCells = {
  op: (op, type) => operation(op, type),
  cast: castCell,
  bitcast: (from, to) => {
    if (from === to) return '$0';
    if (to === 'f32') return from === 'u32' ? '@f32x4_of_bits($0)' : '@f32x4_of_bits(bitcast<vec4<u32>>($0))';
    return `bitcast<${vectorType(to)}>($0)`;
  },
  select: () => 'select($2, $1, $0)',
  extremum: (op) => (op === 'max' ? 'select($0, $1, ($0 < $1))' : 'select($0, $1, ($1 < $0))'),
  splat: (type) => `${vectorType(type)}($0)`,
  repeat: () => '$0',
  dot: () => {
    throw new Error('WGSL schedules make no products of narrow lanes');
  },
  zip: () => {
    throw new Error('WGSL schedules take no vectors in turn');
  },
  evens: () => {
    throw new Error('WGSL schedules take no vectors apart');
  },
  extract: (_type, _lanes, lane) => `$0.${'xyzw'[lane]}`,
  iota: () => '(vec4<i32>($0) + vec4<i32>(0, 1, 2, 3))',
  load: (from, _to, _lanes, { gather, masked }) => {
    const value = gather ? lanewise(vectorType(from), (lane) => `$0[$1.${lane}]`) : '$0[$1]';
    return masked ? `select($3, ${value}, $2)` : value;
  },
  store: (_from, into) => `$0[$1] = ${into === 'f32' || into === 'i32' || into === 'u32' ? '$2' : ''}`,
};
