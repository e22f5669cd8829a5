// WGSL's cells. 64-bit integers are pairs of 32-bit words (`wide`: x low, y high), bools are bool, f64 has no cells that
// work: f64 never gets here (passes/kernel/narrow-f64.ts). `@name`: see functions.ts. Shifts, bit operations and `<` stand in
// brackets of their own: WGSL lets them mix with nothing, and takes `a < b, c > d` for a template.

import { isFloat } from '../../support/dtype.js';
import { invariant } from '../../support/errors.js';
import {
  type ComputeType,
  each,
  INTS,
  type Lang,
  NUMBERS,
  type NumberType,
  type OpTable,
  type StoredType,
} from '../lang.js';
import { WGSL_RESERVED } from './reserved.js';
import { markGroup } from './subgroups.js';
import { vectorType, WGSL_VECTORS } from './vector-cells.js';

/** Types of values and of elements of local arrays. */
export const WGSL_TYPES: Readonly<Record<ComputeType | StoredType, string>> = {
  i1: 'bool',
  i8: 'i32',
  i16: 'i32',
  i32: 'i32',
  u8: 'i32',
  u16: 'i32',
  u32: 'u32',
  i64: 'wide',
  u64: 'wide',
  f32: 'f32',
  f64: 'f64',
};

const WIDE = ['i64', 'u64'] as const;
const isWide = (t: string): boolean => t === 'i64' || t === 'u64';

/** A cell of 32-bit types, and a helper on pairs of words that is the same for both signs. */
const operator = (sign: string, helper: string): Record<NumberType, string> => ({
  ...each(NUMBERS, () => `$0 ${sign} $1`),
  ...each(WIDE, () => `@${helper}_64($0, $1)`),
});
const signed = (helper: string, args = '$0, $1'): Record<(typeof WIDE)[number], string> =>
  each(WIDE, (t) => `@${helper}_${t}(${args})`);
const bits = (sign: string): Record<(typeof INTS)[number], string> => each(INTS, () => `(($0) ${sign} ($1))`);
const builtin = (name: string): Record<'f32' | 'f64', string> => each(['f32', 'f64'] as const, () => `${name}($0)`);

const ops = {
  add: operator('+', 'add'),
  sub: operator('-', 'sub'),
  mul: operator('*', 'mul'),
  div: { ...each(NUMBERS, () => '$0 / $1'), ...signed('div') },
  rem: { ...each(INTS, () => '$0 % $1'), ...signed('rem') },
  min: { ...each(NUMBERS, () => 'min($0, $1)'), ...signed('min'), f32: '@min_f32($0, $1)' },
  max: { ...each(NUMBERS, () => 'max($0, $1)'), ...signed('max'), f32: '@max_f32($0, $1)' },
  and: { ...bits('&'), i1: '$0 && $1' },
  or: { ...bits('|'), i1: '$0 || $1' },
  xor: { ...bits('^'), i1: '$0 != $1' },
  shl: {
    i32: '(($0) << (u32($1) & 31u))',
    u32: '(($0) << (($1) & 31u))',
    ...each(WIDE, () => '@shl_64($0, $1)'),
  },
  shr_s: {
    i32: '(($0) >> (u32($1) & 31u))',
    u32: 'bitcast<u32>((bitcast<i32>($0) >> (($1) & 31u)))',
    ...each(WIDE, () => '@shr_s_64($0, $1)'),
  },
  shr_u: {
    i32: 'bitcast<i32>((bitcast<u32>($0) >> (u32($1) & 31u)))',
    u32: '(($0) >> (($1) & 31u))',
    ...each(WIDE, () => '@shr_u_64($0, $1)'),
  },
  neg: { ...each(NUMBERS, () => '-$0'), u32: '0u - $0', ...each(WIDE, () => '@neg_64($0)') },
  abs: { ...each(NUMBERS, () => 'abs($0)'), u32: '$0', i64: '@abs_64($0)', u64: '$0' },
  floor: builtin('floor'),
  ceil: builtin('ceil'),
  trunc: builtin('trunc'),
  rint: builtin('round'), // half to even
  sqrt: builtin('sqrt'),
  eq: { ...each([...NUMBERS, 'i1'] as const, () => '($0 == $1)'), ...each(WIDE, () => 'all($0 == $1)') },
  lt: { ...each(NUMBERS, () => '($0 < $1)'), ...signed('lt') },
  le: { ...each(NUMBERS, () => '($0 <= $1)'), ...signed('le') },
  mulhi_u: {
    i32: 'bitcast<i32>(@mulhi_u32(bitcast<u32>($0), bitcast<u32>($1)))',
    u32: '@mulhi_u32($0, $1)',
    ...each(WIDE, () => '@mulhi_u64($0, $1)'),
  },
  mulhi_s: {
    i32: '@mulhi_i32($0, $1)',
    u32: 'bitcast<u32>(@mulhi_i32(bitcast<i32>($0), bitcast<i32>($1)))',
    ...each(WIDE, () => '@mulhi_i64($0, $1)'),
  },
  clz: { ...each(INTS, () => 'countLeadingZeros($0)'), ...each(WIDE, () => '@clz_64($0)') },
  popcnt: { ...each(INTS, () => 'countOneBits($0)'), ...each(WIDE, () => '@popcnt_64($0)') },
} satisfies OpTable;

function cast(from: ComputeType, to: ComputeType): string {
  if (from === to || (isWide(from) && isWide(to))) return '$0';
  if (to === 'i1') return isWide(from) ? 'any($0 != wide())' : `($0 != ${constant(0, from)})`;
  if (from === 'i1') return isWide(to) ? 'wide(u32($0), 0u)' : `${to}($0)`;
  if (isFloat(from)) return `@${to}_from_f32($0)`;
  if (isFloat(to)) return isWide(from) ? `@f32_from_${from}($0)` : 'f32($0)';
  if (isWide(from)) return to === 'i32' ? 'bitcast<i32>($0.x)' : '$0.x';
  if (isWide(to)) return from === 'i32' ? '@wide_from_i32($0)' : 'wide($0, 0u)';
  return `bitcast<${to}>($0)`;
}

/** From integers through a function, as a constant NaN or infinity is an error. */
function bitcast(from: NumberType, to: NumberType): string {
  if (from === to || (isWide(from) && isWide(to))) return '$0';
  invariant(!isWide(from) && !isWide(to), `WGSL has no bitcast from ${from} to ${to}`);
  if (to === 'f32') return from === 'u32' ? '@f32_of_bits($0)' : '@f32_of_bits(bitcast<u32>($0))';
  return `bitcast<${to}>($0)`;
}

const hex = (n: number): string => `0x${(n >>> 0).toString(16)}u`;

export function constant(value: number | bigint, type: ComputeType): string {
  if (isWide(type)) {
    const v = BigInt.asUintN(64, BigInt(value));
    const [low, high] = [Number(v & 0xffffffffn), Number(v >> 32n)];
    return `wide(${low}u, ${high === 0xffffffff ? hex(high) : `${high}u`})`;
  }
  const n = Number(value);
  if (type === 'i1') return n ? 'true' : 'false';
  if (type === 'u32') return `${n >>> 0}u`;
  if (type === 'i32') return (n | 0) === -(2 ** 31) ? 'i32(-2147483648)' : `${n | 0}i`;
  const f = Math.fround(n);
  if (!Number.isFinite(f))
    return `@f32_of_bits(${Number.isNaN(f) ? '0x7fc00000u' : f < 0 ? '0xff800000u' : '0x7f800000u'})`;
  return `${Object.is(f, -0) ? '-0' : floatDigits(f)}f`;
}

/** The shortest decimal that reads back as the same f32; the largest lies above what it stands for, so it is written in hex. */
function floatDigits(f: number): string {
  if (Math.abs(f) > 3.4028234e38) return `${f < 0 ? '-' : ''}0x1.fffffep+127`;
  for (let digits = 1; digits < 9; digits++) {
    const text = f.toPrecision(digits);
    if (Math.fround(Number(text)) === f) return String(Number(text));
  }
  return f.toPrecision(9);
}

/** Narrow buffers that a kernel writes are atomic words; everything else is read and written as it is. */
function load(from: StoredType): string {
  return isPacked(from) ? `@extract_${from}(atomicLoad(&$0[@word_${from}($1)]), $1)` : '$0[$1]';
}

function store(into: StoredType, from: ComputeType): string {
  if (!isPacked(into)) return into === from ? '$0[$1] = $2' : `$0[$1] = ${convert(from, into)}`;
  const width = into.slice(1);
  const word = `$0[@word_${into}($1)]`;
  return `atomicAnd(&${word}, @keep_${width}($1)); atomicOr(&${word}, @place_${width}($1, ${convert(from, 'i32')}))`;
}

const convert = (from: ComputeType, into: StoredType): string => {
  const cell = cast(from, into as ComputeType);
  return cell === '$0' ? '$2' : cell.replaceAll('$0', '$2');
};

/** Several elements to a 32-bit word. */
export const isPacked = (t: StoredType): boolean => t === 'i8' || t === 'u8' || t === 'i16' || t === 'u16';

export const WGSL: Lang = {
  name: 'WGSL',
  reserved: WGSL_RESERVED,
  ops,
  exact: {},
  cast,
  bitcast,
  constant,
  load,
  store,
  select: 'select($2, $1, $0)',
  declare: (type, lanes, name, value, mutable) =>
    `${mutable ? 'var' : 'let'} ${name}: ${lanes > 1 ? vectorType(type) : WGSL_TYPES[type]} = ${value};`,
  loop: ({ name, lo, hi, step, mode }) => [
    mode === 'local'
      ? `{ let ${name}: i32 = i32(lane);`
      : `for (var ${name}: i32 = ${lo}; ${name} < ${hi}; ${step === 1 ? `${name}++` : `${name} += ${step}`}) {`,
  ],
  allocate: {
    hoist: true, // what is shared goes on to the module's scope (shader.ts)
    text: (name, type, size, space, lanes) => {
      const element = lanes > 1 ? vectorType(type) : WGSL_TYPES[type];
      return `var${space === 'local' ? '<workgroup>' : ''} ${name}: array<${element}, ${size / lanes}>;`;
    },
  },
  vector: WGSL_VECTORS,
  barrier: 'workgroupBarrier(); storageBarrier();',
  intrin: markGroup,
  unused: () => '',
};
