// onnxruntime's operators on tables packed in a few bits and scaled per block: matrix products and a gather. Tables are unpacked
// to real values by index arithmetic, which folds or fuses into what reads them.

import type { Builder, Read } from '../../ir/builder.js';
import { type Dim, mul } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, constant, type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { fromNumbers } from '../../support/tensor.js';
import { wrapIndex } from './gather.js';
import { type AnyRecord, op } from './record.js';

interface NBitsAttrs {
  readonly bits: number;
  readonly block: number;
  readonly rows: number;
  readonly columns: number;
}

/** Element `j` of little-endian packed `bits`-wide integers, from a reader of bytes. */
function unpack(byteAt: (byte: Expr) => Expr, j: Expr, bits: number): Expr {
  const perByte = 8 / bits;
  const byte = cast(byteAt(e.div(j, perByte)), 'i32');
  return e.and(e.shrU(byte, e.mul(e.rem(j, perByte), bits)), (1 << bits) - 1);
}

const MatMulNBits = op('matmul_nbits', {
  doc: 'Matrix product with a weight packed in 2, 4 or 8 bits, scaled per block of each column.',
  inputs: ['x', 'w', 'scales', 'zeros?', 'group_index?', 'bias?'],
  onnx: {
    'com.microsoft:MatMulNBits@1': (n): NBitsAttrs => ({
      bits: n.int('bits', 4),
      block: n.int('block_size'),
      rows: n.int('K'),
      columns: n.int('N'),
    }),
  },
  lower: ({ x, w, scales, zeros, group_index, bias }, a: NBitsAttrs, b, ctx) => {
    if (![2, 4, 8].includes(a.bits)) ctx.limit(`weights of ${a.bits} bits`, 'Quantise to 2, 4 or 8 bits');
    const weight = unpackWeight(b, a, w, b.reshape(scales, [a.columns, blocksOf(a)]), zeros, group_index);
    const y = b.matmul(x, b.cast(weight, x.type.dtype), { transposeY: true });
    return bias ? b.add(y, bias) : y;
  },
  tolerance: { rtol: 1e-3, atol: 1e-4 },
});

const blocksOf = (a: NBitsAttrs): number => Math.ceil(a.rows / a.block);

/** The weight as [columns, rows] real values. */
function unpackWeight(
  b: Builder,
  a: NBitsAttrs,
  w: Value,
  scales: Value,
  zeros: Value | undefined,
  groups: Value | undefined,
): Value {
  const blocks = blocksOf(a);
  const bytes = b.reshape(w, [a.columns, blocks, (a.block * a.bits) / 8]);
  const packedZeros = zeros?.type.dtype === 'u8';
  const zeroRows: readonly Dim[] = packedZeros ? [a.columns, Math.ceil((blocks * a.bits) / 8)] : [a.columns, blocks];
  const zeroTable = zeros && b.reshape(zeros, zeroRows);
  // By itself, so that it may fold while scales stay beside what it gives.
  const codes = b.generic({
    shape: [a.columns, a.rows],
    body: ([n, k], _r, read) => {
      const byteAt = (byte: Expr): Expr => read(bytes, [n as Expr, e.div(k as Expr, a.block), byte]);
      return cast(unpack(byteAt, e.rem(k as Expr, a.block), a.bits), 'u8');
    },
  });
  return b.generic({
    shape: [a.columns, a.rows],
    body: (i, _r, read) => {
      const [n, k] = i as [Expr, Expr];
      const q = cast(read(codes, [n, k]), 'i32');
      const block = groups ? cast(read(groups, [k]), 'i32') : e.div(k, a.block);
      const scale = cast(read(scales, [n, block]), 'f32');
      if (zeroTable && !packedZeros)
        return e.mul(e.sub(cast(q, 'f32'), cast(read(zeroTable, [n, block]), 'f32')), scale);
      const zero = zeroTable ? unpack((byte) => read(zeroTable, [n, byte]), block, a.bits) : i32(2 ** (a.bits - 1));
      return e.mul(cast(e.sub(q, zero), 'f32'), scale);
    },
  });
}

/** What the sixteen codes of bitsandbytes' formats stand for. */
const FP4 = [0, 0.005208333333, 0.66666667, 1, 0.33333333, 0.5, 0.16666667, 0.25];
const NF4 = [
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
  -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
  0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
];

interface CodedAttrs {
  readonly rows: number;
  readonly columns: number;
  readonly block: number;
  readonly codes: readonly number[];
  readonly transposed: boolean;
}

const MatMulBnb4 = op('matmul_bnb4', {
  doc: 'Matrix product with a weight of 4-bit floats (FP4 or NF4), scaled per block of the flattened weight.',
  inputs: ['x', 'w', 'scales'],
  onnx: {
    'com.microsoft:MatMulBnb4@1': (n): CodedAttrs => ({
      rows: n.int('K'),
      columns: n.int('N'),
      block: n.int('block_size'),
      codes: n.int('quant_type') === 1 ? NF4 : [...FP4, ...FP4.map((v) => -v)],
      transposed: n.bool('transB', true),
    }),
  },
  lower: ({ x, w, scales }, a: CodedAttrs, b) => {
    const codes = b.constant(fromNumbers('f32', [16], a.codes));
    const weight = b.generic({
      shape: [a.columns, a.rows],
      body: ([n, k], _r, read) => {
        const at = e.add(e.mul(n as Expr, a.rows), k as Expr);
        const byte = cast(read(w, [e.div(at, 2)]), 'i32');
        const code = e.and(e.select(e.eq(e.rem(at, 2), 0), e.shrU(byte, 4), byte), 15);
        return e.mul(read(codes, [code]), cast(read(scales, [e.div(at, a.block)]), 'f32'));
      },
    });
    return b.matmul(x, b.cast(weight, x.type.dtype), { transposeY: a.transposed });
  },
  tolerance: { rtol: 1e-3, atol: 1e-4 },
});

interface GatherAttrs {
  readonly axis: number;
  readonly quantized: number;
  /** 0: one block along the whole axis. */
  readonly block: number;
  readonly bits: number;
}

const GatherBlockQuantized = op('gather_block_quantized', {
  doc: 'Slices of a table of small integers or narrow floats, scaled per block along an axis; zeros where out of range.',
  inputs: ['x', 'indices', 'scales', 'zeros?'],
  onnx: {
    'com.microsoft:GatherBlockQuantized@1': (n): GatherAttrs => ({
      axis: n.int('gather_axis', 0),
      quantized: n.int('quantize_axis', 1),
      block: n.int('block_size', 128),
      bits: n.int('bits', 4),
    }),
  },
  lower: ({ x, indices, scales, zeros }, a: GatherAttrs, b) => {
    const packed = x.type.dtype === 'u8' ? 8 / a.bits : 1;
    const [axis, along] = [b.axis(x, a.axis), b.axis(x, a.quantized)];
    const size = x.type.shape.map((d, k) => (k === x.type.shape.length - 1 ? mul(d, packed) : d));
    const count = indices.type.shape.length;
    const element = (read: Read, v: Value, at: readonly Expr[], guard: Expr): Expr => {
      const plain = (last: Expr): Expr =>
        read(v, [...at.slice(0, -1), last], { guard, pad: constant(0, v.type.dtype) });
      return packed === 1
        ? cast(plain(at.at(-1) as Expr), 'f32')
        : cast(unpack(plain, at.at(-1) as Expr, a.bits), 'f32');
    };
    return b.generic({
      shape: [...size.slice(0, axis), ...indices.type.shape, ...size.slice(axis + 1)],
      body: (i, _r, read) => {
        const picked = wrapIndex(read(indices, i.slice(axis, axis + count)), size[axis] as Dim);
        const at = [...i.slice(0, axis), picked, ...i.slice(axis + count)];
        const guard = e.and(e.le(0, picked), e.lt(picked, e.dim(size[axis] as Dim)));
        const block = at.map((v, k) =>
          scales.type.shape[k] === 1 ? i32(0) : k === along && a.block > 0 ? e.div(v, a.block) : v,
        );
        const scale = cast(read(scales, block, { guard, pad: constant(0, scales.type.dtype) }), 'f32');
        const zero = zeros
          ? element(read, zeros, block, guard)
          : constant(x.type.dtype === 'u8' ? 2 ** (a.bits - 1) : 0, 'f32');
        return cast(e.mul(e.sub(element(read, x, at, guard), zero), scale), scales.type.dtype);
      },
    });
  },
});

export const records: readonly AnyRecord[] = [MatMulNBits, MatMulBnb4, GatherBlockQuantized];
