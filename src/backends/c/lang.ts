// C99's cells. Signed arithmetic that may wrap goes through helpers that compute unsigned (no undefined behaviour, and
// compilers vectorise it); where clike.ts proves that nothing wraps, plain operators stand. `@name`: see functions.ts.

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
  type StoredType,
  type VectorCells,
} from '../lang.js';

export const C_TYPES: Readonly<Record<StoredType, string>> = {
  i8: 'int8_t',
  i16: 'int16_t',
  i32: 'int32_t',
  i64: 'int64_t',
  u8: 'uint8_t',
  u16: 'uint16_t',
  u32: 'uint32_t',
  u64: 'uint64_t',
  f32: 'float',
  f64: 'double',
};

/** i1 is a 0 or 1 of type int, as C's comparisons give it. */
export const cType = (t: ComputeType | StoredType): string => (t === 'i1' ? 'int' : C_TYPES[t]);

const SIGNED = ['i32', 'i64'] as const;
const isSigned = (t: string): boolean => t === 'i32' || t === 'i64';
const unsignedOf = (t: string): 'u32' | 'u64' => (t.endsWith('64') ? 'u64' : 'u32');
const signedOf = (t: string): 'i32' | 'i64' => (t.endsWith('64') ? 'i64' : 'i32');
const widthMask = (t: string): string => `${t.endsWith('64') ? 63 : 31}${t.startsWith('u') ? 'u' : ''}`;

const wrapping = (op: string, sign: string): Record<NumberType, string> => ({
  ...each(NUMBERS, () => `$0 ${sign} $1`),
  ...each(SIGNED, (t) => `@${op}_${t}($0, $1)`),
});
const native = <T extends string>(types: readonly T[], sign: string): Record<T, string> =>
  each(types, () => `$0 ${sign} $1`);
const helper = <T extends string>(types: readonly T[], op: string, args = '$0, $1'): Record<T, string> =>
  each(types, (t) => `@${op}_${t}(${args})`);

const FLOAT_TYPES = ['f32', 'f64'] as const;
const shiftLeft = (t: string, count: string): string =>
  isSigned(t) ? `(${C_TYPES[signedOf(t)]})((${C_TYPES[unsignedOf(t)]})$0 << ${count})` : `$0 << ${count}`;
const shiftSigned = (t: string, count: string): string =>
  isSigned(t) ? `$0 >> ${count}` : `(${C_TYPES[unsignedOf(t)]})((${C_TYPES[signedOf(t)]})$0 >> ${count})`;
const shiftUnsigned = (t: string, count: string): string =>
  isSigned(t) ? `(${C_TYPES[signedOf(t)]})((${C_TYPES[unsignedOf(t)]})$0 >> ${count})` : `$0 >> ${count}`;
const masked = (shift: (t: string, count: string) => string): Record<(typeof INTS)[number], string> =>
  each(INTS, (t) => shift(t, `($1 & ${widthMask(t)})`));

/** `mulhi` and the bit counts are defined on unsigned; the other signedness is a cast around. */
const viaUnsigned = (op: string, args: 1 | 2): Record<(typeof INTS)[number], string> =>
  each(INTS, (t) => {
    const u = unsignedOf(t);
    const list = ['$0', '$1'].slice(0, args).map((a) => (isSigned(t) ? `(${C_TYPES[u]})${a}` : a));
    const call = `@${op}_${u}(${list.join(', ')})`;
    return isSigned(t) ? `(${C_TYPES[signedOf(t)]})${call}` : call;
  });

const ops = {
  add: wrapping('add', '+'),
  sub: wrapping('sub', '-'),
  mul: wrapping('mul', '*'),
  div: native(NUMBERS, '/'),
  rem: native(INTS, '%'),
  min: helper(NUMBERS, 'min'),
  max: helper(NUMBERS, 'max'),
  and: native([...INTS, 'i1'], '&'),
  or: native([...INTS, 'i1'], '|'),
  xor: native([...INTS, 'i1'], '^'),
  shl: masked(shiftLeft),
  shr_s: masked(shiftSigned),
  shr_u: masked(shiftUnsigned),
  neg: { ...helper(SIGNED, 'neg', '$0'), u32: '0u - $0', u64: 'UINT64_C(0) - $0', f32: '-$0', f64: '-$0' },
  abs: { ...helper(NUMBERS, 'abs', '$0'), u32: '$0', u64: '$0' },
  floor: helper(FLOAT_TYPES, 'floor', '$0'),
  ceil: helper(FLOAT_TYPES, 'ceil', '$0'),
  trunc: helper(FLOAT_TYPES, 'trunc', '$0'),
  rint: helper(FLOAT_TYPES, 'rint', '$0'),
  sqrt: helper(FLOAT_TYPES, 'sqrt', '$0'),
  eq: native([...NUMBERS, 'i1'], '=='),
  lt: native(NUMBERS, '<'),
  le: native(NUMBERS, '<='),
  mulhi_u: viaUnsigned('mulhi', 2),
  mulhi_s: {
    ...helper(SIGNED, 'mulhi'),
    u32: '(uint32_t)@mulhi_i32((int32_t)$0, (int32_t)$1)',
    u64: '(uint64_t)@mulhi_i64((int64_t)$0, (int64_t)$1)',
  },
  clz: viaUnsigned('clz', 1),
  popcnt: viaUnsigned('popcnt', 1),
} satisfies OpTable;

const shifts = (shift: (t: string, count: string) => string): Record<string, string> =>
  each(INTS, (t) => shift(t, '$1'));

const exact: CellLookup = {
  add: { i32: '$0 + $1' },
  sub: { i32: '$0 - $1' },
  mul: { i32: '$0 * $1' },
  neg: { i32: '-$0' },
  shl: shifts(shiftLeft),
  shr_s: shifts(shiftSigned),
  shr_u: shifts(shiftUnsigned),
};

function cast(from: ComputeType, to: ComputeType): string {
  if (from === to) return '$0';
  if (to === 'i1') return isFloat(from) ? `$0 != ${constant(0, from)}` : '$0 != 0';
  if (from === 'i1' && to === 'i32') return '$0';
  return isFloat(from) && !isFloat(to) ? `@${to}_from_${from}($0)` : `(${cType(to)})$0`;
}

function bitcast(from: NumberType, to: NumberType): string {
  if (from === to) return '$0';
  return isFloat(from) === isFloat(to) ? `(${cType(to)})$0` : `@bits_${from}_${to}($0)`;
}

/** The shortest decimal that reads back as the same f32. */
function shortestF32(v: number): string {
  for (let digits = 1; digits < 9; digits++) {
    const text = v.toPrecision(digits);
    if (Math.fround(Number(text)) === v) return String(Number(text));
  }
  return v.toPrecision(9);
}

/** A literal of exactly this value; infinities and NaN are macros (see functions.ts). */
export function constant(value: number | bigint, type: ComputeType | StoredType): string {
  if (type === 'i64' || type === 'u64') {
    const v = type === 'i64' ? BigInt.asIntN(64, BigInt(value)) : BigInt.asUintN(64, BigInt(value));
    if (v === -(1n << 63n)) return 'INT64_MIN';
    return type === 'i64' ? (v < 0n ? `-INT64_C(${-v})` : `INT64_C(${v})`) : `UINT64_C(${v})`;
  }
  const n = Number(value);
  if (type === 'f32' || type === 'f64') return floatLiteral(type === 'f32' ? Math.fround(n) : n, type);
  if (type === 'u32') return `${n >>> 0}u`;
  if (type === 'i1') return n ? '1' : '0';
  return (n | 0) === -(2 ** 31) ? 'INT32_MIN' : String(n | 0);
}

function floatLiteral(v: number, type: 'f32' | 'f64'): string {
  const single = type === 'f32';
  if (Number.isNaN(v)) return `${single ? '(float)' : ''}@NOT_A_NUMBER`;
  if (!Number.isFinite(v)) return `${v < 0 ? '-' : ''}${single ? '(float)' : ''}@INFINITE`;
  const text = Object.is(v, -0) ? '-0' : single ? shortestF32(v) : String(v);
  return `${/[.e]/.test(text) ? text : `${text}.0`}${single ? 'f' : ''}`;
}

const KEYWORDS =
  'auto break case char const continue default do double else enum extern float for goto if inline int long register restrict ' +
  'return short signed sizeof static struct switch typedef union unsigned void volatile while asm typeof bool true false NULL ' +
  'INT32_MIN INT64_MIN INT64_C UINT64_C size_t main in out arena state weights';

export const C_RESERVED: ReadonlySet<string> = new Set([...KEYWORDS.split(' '), ...Object.values(C_TYPES)]);

/** Vectors added up in a loop beside which x86 has registers for what two steps share. */
const FEW_SUMS = 8;
/** Steps of a loop up to which gcc writes it out. */
const WRITTEN_OUT = 16;

/** C with `vector` cells; every identifier in `reserved` stays free for the file's own use. */
export function createCLang(reserved: Iterable<string>, vector: VectorCells): Lang {
  return {
    name: 'C',
    reserved: new Set([...C_RESERVED, ...reserved]),
    ops,
    exact,
    cast,
    bitcast,
    constant,
    load: '$0[$1]',
    store: (into, from) => (into === from || isFloat(into) ? '$0[$1] = $2' : `$0[$1] = (${C_TYPES[into]})$2`),
    declare: (type, lanes, name, value, mutable) =>
      `${mutable ? '' : 'const '}${lanes > 1 ? `${type}x${lanes}` : cType(type)} ${name} = ${value};`,
    limit: (text) => `@kept_f32(${text})`,
    loop: ({ name, lo, hi, step, mode, innermost, sums, steps }) => [
      ...(mode === 'parallel' && innermost ? ['@INDEPENDENT'] : []),
      ...(mode === 'vector' ? ['@ROLLED'] : []),
      ...(innermost && sums > FEW_SUMS && (steps ?? Infinity) <= WRITTEN_OUT ? ['@CROWDED'] : []),
      `for (int32_t ${name} = ${lo}; ${name} < ${hi}; ${step === 1 ? `++${name}` : `${name} += ${step}`}) {`,
    ],
    allocate: { hoist: false, text: (name, type, size) => `${C_TYPES[type]} ${name}[${size}];` },
    unused: (name) => `(void)${name};`,
    vectors: 'HEDDLE_SIMD',
    vector,
  };
}
