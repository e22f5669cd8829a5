// Element types and how each is stored. Formats narrower than a byte are held unpacked, one element a byte;
// 16- and 8-bit floats are held as their bit patterns. Only `string` has no numeric storage.

/** Every element type a model may use. Names are ours; `i1` is bool. */
export const DTYPES = [
  'f64',
  'f32',
  'f16',
  'bf16',
  'f8e4m3fn',
  'f8e4m3fnuz',
  'f8e5m2',
  'f8e5m2fnuz',
  'f8e8m0',
  'f4e2m1',
  'i64',
  'i32',
  'i16',
  'i8',
  'i4',
  'i2',
  'u64',
  'u32',
  'u16',
  'u8',
  'u4',
  'u2',
  'i1',
  'string',
] as const;

export type DType = (typeof DTYPES)[number];

/** Facts about one element type. `bits` is the logical width; `bytes` the width of one stored element here. */
export interface DTypeInfo {
  readonly kind: 'float' | 'int' | 'uint' | 'bool' | 'string';
  readonly bits: number;
  readonly bytes: number;
}

const info = (kind: DTypeInfo['kind'], bits: number, bytes = Math.max(1, bits / 8)): DTypeInfo => ({
  kind,
  bits,
  bytes,
});

export const DTYPE_INFO: Record<DType, DTypeInfo> = {
  f64: info('float', 64),
  f32: info('float', 32),
  f16: info('float', 16),
  bf16: info('float', 16),
  f8e4m3fn: info('float', 8),
  f8e4m3fnuz: info('float', 8),
  f8e5m2: info('float', 8),
  f8e5m2fnuz: info('float', 8),
  f8e8m0: info('float', 8),
  f4e2m1: info('float', 4),
  i64: info('int', 64),
  i32: info('int', 32),
  i16: info('int', 16),
  i8: info('int', 8),
  i4: info('int', 4),
  i2: info('int', 2),
  u64: info('uint', 64),
  u32: info('uint', 32),
  u16: info('uint', 16),
  u8: info('uint', 8),
  u4: info('uint', 4),
  u2: info('uint', 2),
  i1: info('bool', 1),
  string: info('string', 0, 0),
};

export const isFloat = (t: DType): boolean => DTYPE_INFO[t].kind === 'float';
export const isInteger = (t: DType): boolean => DTYPE_INFO[t].kind === 'int' || DTYPE_INFO[t].kind === 'uint';
export const isUnsigned = (t: DType): boolean => DTYPE_INFO[t].kind === 'uint';

/** Smallest and largest value of an integer or bool type. */
export function intRange(t: DType): { lo: bigint; hi: bigint } {
  const { kind, bits } = DTYPE_INFO[t];
  if (kind === 'int') return { lo: -(1n << BigInt(bits - 1)), hi: (1n << BigInt(bits - 1)) - 1n };
  return { lo: 0n, hi: (1n << BigInt(bits)) - 1n };
}
