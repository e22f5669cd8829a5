// JavaScript's cells. i32 and u32 are numbers kept in range, i64 and u64 BigInts wrapped to 64 bits, f32 numbers rounded
// after every operation, i1 booleans. `fround imul abs …` are Math's functions; `@name` is one of numerics.ts.

import { isFloat } from '../../support/dtype.js';
import {
  type CellLookup,
  type ComputeType,
  each,
  INTS,
  type Lang,
  NUMBERS,
  type NumberType,
  type OpTable,
} from '../lang.js';
import { NUMERICS } from './numerics.js';
import { vectorCells } from './vectors.js';

const WIDE = ['i64', 'u64'] as const;
const isWide = (t: string): boolean => t === 'i64' || t === 'u64';

/** Brings an exact result back into the range of its type. */
const wrap = (t: NumberType, cell: string): string =>
  ({
    i32: `${cell} | 0`,
    u32: `${cell} >>> 0`,
    i64: `BigInt.asIntN(64, ${cell})`,
    u64: `BigInt.asUintN(64, ${cell})`,
    f32: `fround(${cell})`,
    f64: cell,
  })[t];

const arithmetic = (sign: string): Record<NumberType, string> => each(NUMBERS, (t) => wrap(t, `$0 ${sign} $1`));
const extremum = (name: 'min' | 'max'): Record<NumberType, string> => ({
  ...each(NUMBERS, () => `${name}($0, $1)`),
  ...each(WIDE, () => `@${name}64($0, $1)`),
});
const bits = (sign: string): Record<(typeof INTS)[number], string> => ({
  ...each(INTS, () => `$0 ${sign} $1`),
  u32: `($0 ${sign} $1) >>> 0`,
});
const floats = (cell: string): Record<'f32' | 'f64', string> => ({ f32: cell, f64: cell });

const ops = {
  add: arithmetic('+'),
  sub: arithmetic('-'),
  mul: { ...arithmetic('*'), i32: 'imul($0, $1)', u32: 'imul($0, $1) >>> 0' },
  div: { ...arithmetic('/'), i64: '$0 / $1', u64: '$0 / $1' },
  rem: { i32: '$0 % $1 | 0', u32: '$0 % $1 >>> 0', i64: '$0 % $1', u64: '$0 % $1' },
  min: extremum('min'),
  max: extremum('max'),
  and: { ...bits('&'), i1: '$0 && $1' },
  or: { ...bits('|'), i1: '$0 || $1' },
  xor: { ...bits('^'), i1: '$0 !== $1' },
  shl: {
    i32: '$0 << $1',
    u32: '$0 << $1 >>> 0',
    i64: 'BigInt.asIntN(64, $0 << ($1 & 63n))',
    u64: 'BigInt.asUintN(64, $0 << ($1 & 63n))',
  },
  shr_s: {
    i32: '$0 >> $1',
    u32: '$0 >> $1 >>> 0',
    i64: '$0 >> ($1 & 63n)',
    u64: 'BigInt.asUintN(64, BigInt.asIntN(64, $0) >> ($1 & 63n))',
  },
  shr_u: {
    i32: '$0 >>> $1 | 0',
    u32: '$0 >>> $1',
    i64: 'BigInt.asIntN(64, BigInt.asUintN(64, $0) >> ($1 & 63n))',
    u64: '$0 >> ($1 & 63n)',
  },
  neg: { ...each(NUMBERS, (t) => wrap(t, '-$0')), f32: '-$0' },
  abs: { i32: 'abs($0) | 0', u32: '$0', i64: '@abs64($0)', u64: '$0', ...floats('abs($0)') },
  floor: floats('floor($0)'),
  ceil: floats('ceil($0)'),
  trunc: floats('trunc($0)'),
  rint: floats('@rint($0)'),
  sqrt: { f32: 'fround(sqrt($0))', f64: 'sqrt($0)' },
  eq: each([...NUMBERS, 'i1'], () => '$0 === $1'),
  lt: each(NUMBERS, () => '$0 < $1'),
  le: each(NUMBERS, () => '$0 <= $1'),
  mulhi_u: {
    i32: '@mulhi_u32($0, $1) | 0',
    u32: '@mulhi_u32($0, $1)',
    i64: '@mulhi_u64($0, $1)',
    u64: 'BigInt.asUintN(64, @mulhi_u64($0, $1))',
  },
  mulhi_s: {
    i32: '@mulhi_s32($0, $1)',
    u32: '@mulhi_s32($0, $1) >>> 0',
    i64: '@mulhi_s64($0, $1)',
    u64: 'BigInt.asUintN(64, @mulhi_s64($0, $1))',
  },
  clz: { ...each(INTS, () => 'clz32($0)'), ...each(WIDE, () => '@clz64($0)') },
  popcnt: { ...each(INTS, () => '@popcnt32($0)'), ...each(WIDE, () => '@popcnt64($0)') },
} satisfies OpTable;

const exact: CellLookup = { add: { i32: '$0 + $1' }, sub: { i32: '$0 - $1' } };

function cast(from: ComputeType, to: ComputeType): string {
  if (from === to) return '$0';
  if (to === 'i1') return isWide(from) ? '$0 !== 0n' : '$0 !== 0';
  if (from === 'i1') return isWide(to) ? '$0 ? 1n : 0n' : '$0 ? 1 : 0';
  if (isFloat(from)) return to === 'f64' ? '$0' : to === 'f32' ? 'fround($0)' : `@saturate_${to}($0)`;
  if (isFloat(to)) return isWide(from) ? (to === 'f32' ? '@round64($0)' : 'Number($0)') : wrap(to, '$0');
  if (isWide(from)) return isWide(to) ? wrap(to, '$0') : `Number(BigInt.as${to === 'i32' ? 'Int' : 'Uint'}N(32, $0))`;
  return isWide(to) ? (from === 'i32' && to === 'u64' ? wrap(to, 'BigInt($0)') : 'BigInt($0)') : wrap(to, '$0');
}

function bitcast(from: NumberType, to: NumberType): string {
  if (from === to) return '$0';
  if (isFloat(from) === isFloat(to)) return wrap(to, '$0');
  return `@bits_${from}_${to}($0)`;
}

function constant(value: number | bigint, type: ComputeType): string {
  if (type === 'i1') return value ? 'true' : 'false';
  if (isWide(type)) return `${type === 'i64' ? BigInt.asIntN(64, BigInt(value)) : BigInt.asUintN(64, BigInt(value))}n`;
  const n = Number(value);
  const held = type === 'f32' ? Math.fround(n) : type === 'i32' ? n | 0 : type === 'u32' ? n >>> 0 : n;
  return Object.is(held, -0) ? '-0' : String(held);
}

const CONSTRUCTORS = {
  i8: 'Int8Array',
  i16: 'Int16Array',
  i32: 'Int32Array',
  i64: 'BigInt64Array',
  u8: 'Uint8Array',
  u16: 'Uint16Array',
  u32: 'Uint32Array',
  u64: 'BigUint64Array',
  f32: 'Float32Array',
  f64: 'Float64Array',
} as const;

/** What every kernel function may call by these names. */
export const MATH = 'fround imul abs min max floor ceil trunc sqrt clz32';

const RESERVED =
  `${MATH} BigInt Number NaN Infinity undefined eval arguments await async break case catch class const continue debugger ` +
  'default delete do else enum export extends false finally for function if implements import in instanceof interface let ' +
  'new null of package private protected public return static super switch this throw true try typeof var void while with yield ' +
  Object.values(CONSTRUCTORS).join(' ');

export const JS: Lang = {
  name: 'interpreter',
  reserved: new Set([...RESERVED.split(' '), ...Object.keys(NUMERICS)]),
  ops,
  exact,
  cast,
  bitcast,
  constant,
  load: '$0[$1]',
  store: () => '$0[$1] = $2',
  declare: (_type, _lanes, name, value, mutable) => `${mutable ? 'let' : 'const'} ${name} = ${value};`,
  loop: ({ name, lo, hi, step }) => [
    `for (let ${name} = ${lo}; ${name} < ${hi}; ${step === 1 ? `${name}++` : `${name} += ${step}`}) {`,
  ],
  allocate: { hoist: true, text: (name, type, size) => `const ${name} = new ${CONSTRUCTORS[type]}(${size});` },
  unused: () => '',
  vectors: 'true',
  vector: vectorCells({ ops, cast, bitcast }),
};
