// Turns a scalar expression over primitives into a JavaScript function, one rounding per operation: the tests' oracle
// for what macros and legalized kernels compute. Shared nodes are computed once. Loads call `load(src, index)`.

import { DTYPE_INFO, type DType } from '../../src/support/dtype.js';
import { type Expr, isPrimitive } from '../../src/ir/scalar.js';

export type Value = number | bigint | boolean;
export type Compiled = (...args: Value[]) => Value;

const view = new DataView(new ArrayBuffer(8));

const SETTERS: Partial<Record<DType, (v: Value) => void>> = {
  f32: (v) => view.setFloat32(0, Number(v)),
  f64: (v) => view.setFloat64(0, Number(v)),
  i32: (v) => view.setInt32(0, Number(v)),
  u32: (v) => view.setUint32(0, Number(v)),
  i64: (v) => view.setBigInt64(0, BigInt(v)),
  u64: (v) => view.setBigUint64(0, BigInt(v)),
};

const GETTERS: Partial<Record<DType, () => Value>> = {
  f32: () => view.getFloat32(0),
  f64: () => view.getFloat64(0),
  i32: () => view.getInt32(0),
  u32: () => view.getUint32(0),
  i64: () => view.getBigInt64(0),
  u64: () => view.getBigUint64(0),
};

function reinterpret(v: Value, from: DType, to: DType): Value {
  SETTERS[from]?.(v);
  const value = GETTERS[to]?.();
  if (value === undefined || !SETTERS[from]) throw new Error(`bitcast ${from} to ${to}`);
  return value;
}

function wrapInt(v: bigint, t: DType): Value {
  const { kind, bits } = DTYPE_INFO[t];
  const wrapped = kind === 'int' ? BigInt.asIntN(bits, v) : BigInt.asUintN(bits, v);
  return bits === 64 ? wrapped : Number(wrapped);
}

function saturate(v: number, t: DType): Value {
  if (Number.isNaN(v)) return wrapInt(0n, t);
  const { kind, bits } = DTYPE_INFO[t];
  const lo = kind === 'int' ? -(2n ** BigInt(bits - 1)) : 0n;
  const hi = 2n ** BigInt(kind === 'int' ? bits - 1 : bits) - 1n;
  if (v <= Number(lo)) return wrapInt(lo, t);
  if (v >= Number(hi)) return wrapInt(hi, t);
  return wrapInt(BigInt(Math.trunc(v)), t);
}

/** BigInt to f32 with one rounding. */
function bigToF32(v: bigint): number {
  const near = Math.fround(Number(v));
  const sign = v < 0n ? -1n : 1n;
  const m = v * sign;
  const drop = BigInt(Math.max(0, m.toString(2).length - 24));
  if (drop === 0n) return near;
  const unit = 1n << drop;
  const rest = m % unit;
  let q = m / unit;
  if (rest * 2n > unit || (rest * 2n === unit && q % 2n === 1n)) q += 1n;
  return Number(sign * q * unit);
}

export function convert(v: Value, from: DType, to: DType): Value {
  const source = DTYPE_INFO[from].kind;
  if (to === 'i1') return typeof v === 'bigint' ? v !== 0n : Number.isNaN(v) || Number(v) !== 0;
  if (to === 'f64') return Number(v);
  if (to === 'f32') return typeof v === 'bigint' ? bigToF32(v) : Math.fround(Number(v));
  return source === 'float' ? saturate(Number(v), to) : wrapInt(BigInt(v), to);
}

const rint = (x: number): number => {
  if (!(Math.abs(x) < 2 ** 52)) return x;
  const magnitude = Math.abs(x) + 2 ** 52 - 2 ** 52;
  return x < 0 || Object.is(x, -0) ? -magnitude : magnitude;
};
const clz = (x: bigint, bits: number): bigint =>
  x === 0n ? BigInt(bits) : BigInt(bits - BigInt.asUintN(bits, x).toString(2).length);
const popcnt = (x: bigint, bits: number): bigint =>
  BigInt(BigInt.asUintN(bits, x).toString(2).replaceAll('0', '').length);

function smaller(a: bigint, b: bigint): bigint {
  if (a < b) return a;
  return b;
}

/** Operations on integers, exact in BigInt and wrapped after. */
export const INT: Record<string, (a: bigint, b: bigint, bits: number) => bigint> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  rem: (a, b) => a % b,
  min: smaller,
  max: (a, b) => -smaller(-a, -b),
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shl: (a, b) => a << b,
  shr_s: (a, b) => a >> b,
  shr_u: (a, b, n) => BigInt.asUintN(n, a) >> b,
  neg: (a) => -a,
  abs: (a) => (a < 0n ? -a : a),
  mulhi_u: (a, b, n) => (BigInt.asUintN(n, a) * BigInt.asUintN(n, b)) >> BigInt(n),
  mulhi_s: (a, b, n) => (a * b) >> BigInt(n),
  clz: (a, _b, n) => clz(a, n),
  popcnt: (a, _b, n) => popcnt(a, n),
};

const FLOAT: Record<string, (a: string, b: string) => string> = {
  add: (a, b) => `${a} + ${b}`,
  sub: (a, b) => `${a} - ${b}`,
  mul: (a, b) => `${a} * ${b}`,
  div: (a, b) => `${a} / ${b}`,
  min: (a, b) => `Math.min(${a}, ${b})`,
  max: (a, b) => `Math.max(${a}, ${b})`,
  neg: (a) => `-${a}`,
  abs: (a) => `Math.abs(${a})`,
  floor: (a) => `Math.floor(${a})`,
  ceil: (a) => `Math.ceil(${a})`,
  trunc: (a) => `Math.trunc(${a})`,
  rint: (a) => `rt.rint(${a})`,
  sqrt: (a) => `Math.sqrt(${a})`,
};

const I32: Record<string, (a: string, b: string) => string> = {
  add: (a, b) => `(${a} + ${b}) | 0`,
  sub: (a, b) => `(${a} - ${b}) | 0`,
  mul: (a, b) => `Math.imul(${a}, ${b})`,
  and: (a, b) => `${a} & ${b}`,
  or: (a, b) => `${a} | ${b}`,
  xor: (a, b) => `${a} ^ ${b}`,
  shl: (a, b) => `${a} << ${b}`,
  shr_s: (a, b) => `${a} >> ${b}`,
  shr_u: (a, b) => `(${a} >>> ${b}) | 0`,
};

const COMPARE: Record<string, string> = { eq: '===', lt: '<', le: '<=' };

function spellOp(e: Expr & { k: 'op' }, a: string, b: string): string {
  const first = e.args[0] as Expr;
  if (!isPrimitive(e.op)) throw new Error(`not a primitive: ${e.op}`);
  const t = first.dtype;
  if (COMPARE[e.op]) return `${a} ${COMPARE[e.op]} ${b}`;
  if (t === 'i1') return { and: `${a} && ${b}`, or: `${a} || ${b}`, xor: `${a} !== ${b}` }[e.op as 'and'] ?? 'bad()';
  if (t === 'f32') return `Math.fround(${FLOAT[e.op]?.(a, b)})`;
  if (t === 'f64') return `${FLOAT[e.op]?.(a, b)}`;
  if (t === 'i32' && I32[e.op]) return `${I32[e.op]?.(a, b)}`;
  return `rt.wrap(rt.INT.${e.op}(BigInt(${a}), BigInt(${b}), ${DTYPE_INFO[t].bits}), '${t}')`;
}

const spellNumber = (v: number): string => (Object.is(v, -0) ? '-0' : String(v));

const f32s = new Float32Array(1);
const i32s = new Int32Array(f32s.buffer);
const f64s = new Float64Array(1);
const i64s = new BigInt64Array(f64s.buffer);
const runtime = { rint, wrap: wrapInt, INT, convert, reinterpret, f32s, i32s, f64s, i64s };

/** Statements computing `e` into a variable, whose name is returned. */
export function spell(e: Expr, lines: string[], names: Map<Expr, string>): string {
  const known = names.get(e);
  if (known !== undefined) return known;
  const sub = (x: Expr): string => spell(x, lines, names);
  const name = `t${names.size}`;
  let code: string;
  switch (e.k) {
    case 'const':
      if (e.dtype === 'i1') code = e.value ? 'true' : 'false';
      else code = typeof e.value === 'bigint' ? `${e.value}n` : spellNumber(e.value);
      break;
    case 'var':
      return e.name;
    case 'op': {
      const [a = '', b = a] = e.args.map(sub);
      code = spellOp(e, `(${a})`, `(${b})`);
      break;
    }
    case 'select':
      code = `${sub(e.cond)} ? ${sub(e.a)} : ${sub(e.b)}`;
      break;
    case 'cast':
      code =
        e.arg.dtype === 'i32' && e.dtype === 'f32'
          ? `Math.fround(${sub(e.arg)})`
          : `rt.convert(${sub(e.arg)}, '${e.arg.dtype}', '${e.dtype}')`;
      break;
    case 'bitcast': {
      const arrays: Record<string, string> = { f32: 'rt.f32s', i32: 'rt.i32s', f64: 'rt.f64s', i64: 'rt.i64s' };
      const [from, to] = [arrays[e.arg.dtype], arrays[e.dtype]];
      if (from && to) code = `(${from}[0] = ${sub(e.arg)}, ${to}[0])`;
      else code = `rt.reinterpret(${sub(e.arg)}, '${e.arg.dtype}', '${e.dtype}')`;
      break;
    }
    case 'load': {
      const read = `load(${e.src}, ${e.index.map(sub).join()})`;
      code = e.guard ? `${sub(e.guard)} ? ${read} : ${e.pad ? sub(e.pad) : '0'}` : read;
      break;
    }
    default:
      throw new Error(`cannot evaluate ${e.k}`);
  }
  const unique = names.has(e) ? name : `t${lines.length}`;
  lines.push(`const ${unique} = ${code};`);
  names.set(e, unique);
  return unique;
}

/** A function of the named variables (and of `load`, given last). */
export function compileExpr(e: Expr, params: readonly string[]): Compiled {
  const lines: string[] = [];
  const result = spell(e, lines, new Map());
  const body = `${lines.join('\n')}\nreturn ${result};`;
  const make = new Function('rt', 'load', `return (${params.join()}) => {${body}};`);
  return make(runtime, undefined) as Compiled;
}
