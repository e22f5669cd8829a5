// onnxruntime's matrix product with a weight packed in a few bits and scaled per block: the weight is unpacked to real
// values by index arithmetic, which folds or fuses into the product.

import type { Builder } from '../../ir/builder.js';
import type { Dim } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, constant, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
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
  return b.generic({
    shape: [a.columns, a.rows],
    body: (i, _r, read) => {
      const [n, k] = i as [Expr, Expr];
      const q = unpack((byte) => read(bytes, [n, e.div(k, a.block), byte]), e.rem(k, a.block), a.bits);
      const block = groups ? cast(read(groups, [k]), 'i32') : e.div(k, a.block);
      const scale = cast(read(scales, [n, block]), 'f32');
      const zero = !zeroTable
        ? constant(2 ** (a.bits - 1), 'f32')
        : packedZeros
          ? cast(
              unpack((byte) => read(zeroTable, [n, byte]), block, a.bits),
              'f32',
            )
          : cast(read(zeroTable, [n, block]), 'f32');
      return e.mul(e.sub(cast(q, 'f32'), zero), scale);
    },
  });
}

export const records: readonly AnyRecord[] = [MatMulNBits];
