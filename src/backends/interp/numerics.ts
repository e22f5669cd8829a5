// Arithmetic that JavaScript has no operator for, as kernel IR defines it. Kernels call these by name.

import { lanewise, storeLanes } from './vectors.js';

const floats = new Float64Array(1);
const asF32 = new Float32Array(floats.buffer);
const asI32 = new Int32Array(floats.buffer);
const asU32 = new Uint32Array(floats.buffer);
const asI64 = new BigInt64Array(floats.buffer);
const asU64 = new BigUint64Array(floats.buffer);

function bits<A, B>(from: { [i: number]: A }, to: { [i: number]: B }): (x: A) => B {
  return (x) => {
    from[0] = x;
    return to[0] as B;
  };
}

/** Half to even; adding 2^52 leaves no room for a fraction. */
function rint(x: number): number {
  const a = Math.abs(x);
  if (!(a < 4503599627370496)) return x;
  const r = a + 4503599627370496 - 4503599627370496;
  return x < 0 || Object.is(x, -0) ? -r : r;
}

function saturateWide(x: number, lo: bigint, hi: bigint): bigint {
  if (Number.isNaN(x)) return 0n;
  if (x >= Number(hi)) return hi;
  return x <= Number(lo) ? lo : BigInt(Math.trunc(x));
}

/** One rounding from 64 bits to f32: the low bits are first folded into an odd last bit that a double can hold. */
function round64(x: bigint): number {
  const small = x >= -9007199254740992n && x <= 9007199254740992n;
  return Math.fround(Number(small ? x : (x & ~0x7ffn) | ((x & 0x7ffn) === 0n ? 0n : 0x800n)));
}

function mulhi_u32(a: number, b: number): number {
  const [al, ah, bl, bh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const middle = ah * bl + ((al * bl) >>> 16);
  const carried = al * bh + (middle % 65536);
  return (ah * bh + Math.floor(middle / 65536) + Math.floor(carried / 65536)) >>> 0;
}

const mulhi_s32 = (a: number, b: number): number =>
  (mulhi_u32(a, b) - ((a | 0) < 0 ? b : 0) - ((b | 0) < 0 ? a : 0)) | 0;

function popcnt32(x: number): number {
  let v = x - ((x >>> 1) & 0x55555555);
  v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
  return Math.imul((v + (v >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

const low = (x: bigint): number => Number(BigInt.asUintN(32, x));
const high = (x: bigint): number => Number(BigInt.asUintN(32, x >> 32n));
const u64 = (x: bigint): bigint => BigInt.asUintN(64, x);
const i64 = (x: bigint): bigint => BigInt.asIntN(64, x);

export const NUMERICS = {
  lanewise,
  storeLanes,
  rint,
  round64,
  saturate_i32: (x: number): number => (x >= 2147483647 ? 2147483647 : x <= -2147483648 ? -2147483648 : x | 0),
  saturate_u32: (x: number): number => (x >= 4294967295 ? 4294967295 : x > 0 ? x >>> 0 : 0),
  saturate_i64: (x: number): bigint => saturateWide(x, -(1n << 63n), (1n << 63n) - 1n),
  saturate_u64: (x: number): bigint => saturateWide(x, 0n, (1n << 64n) - 1n),
  bits_f32_i32: bits(asF32, asI32),
  bits_f32_u32: bits(asF32, asU32),
  bits_i32_f32: bits(asI32, asF32),
  bits_u32_f32: bits(asU32, asF32),
  bits_f64_i64: bits(floats, asI64),
  bits_f64_u64: bits(floats, asU64),
  bits_i64_f64: bits(asI64, floats),
  bits_u64_f64: bits(asU64, floats),
  min64: (a: bigint, b: bigint): bigint => (a < b ? a : b),
  max64: (a: bigint, b: bigint): bigint => (a > b ? a : b),
  abs64: (a: bigint): bigint => i64(a < 0n ? -a : a),
  mulhi_u32,
  mulhi_s32,
  mulhi_u64: (a: bigint, b: bigint): bigint => i64((u64(a) * u64(b)) >> 64n),
  mulhi_s64: (a: bigint, b: bigint): bigint => i64((i64(a) * i64(b)) >> 64n),
  popcnt32,
  clz64: (x: bigint): bigint => BigInt(high(x) ? Math.clz32(high(x)) : 32 + Math.clz32(low(x))),
  popcnt64: (x: bigint): bigint => BigInt(popcnt32(low(x)) + popcnt32(high(x))),
} as const;

export type NumericName = keyof typeof NUMERICS;
