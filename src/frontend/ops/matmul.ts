// Matrix products: MatMul and Gemm, einsum, integer products less zero points, TFLite's fully connected layers.
// Every one is a single contraction over named axes; what is added or scaled afterwards is left to fusion.

import { addBias } from './bias.js';
import { CHANNELS_LAST } from './window.js';
import type { Builder } from '../../ir/builder.js';
import { floordiv, product } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { isFloat } from '../../support/dtype.js';
import { CompileError } from '../../support/errors.js';
import { activationOf, type FusedActivation, fusedActivation } from './fused-activation.js';
import { type AnyRecord, type LowerContext, type NodeReader, op } from './record.js';
import { type Activation, activationNamed } from './rnn-activations.js';
import { integerFullyConnected, integerMatmul } from './quantized/contraction.js';
import { integerOrRows, scaledOrRows } from './quantized/hybrid.js';

interface MatMulAttrs {
  readonly alpha: number;
  readonly transposeX: boolean;
  readonly transposeY: boolean;
  /** FusedMatMul: the leading axis stands where the row axis should, behind the batch axes. */
  readonly batchFirstX: boolean;
  readonly batchFirstY: boolean;
  readonly activation?: Activation | undefined;
}

const PLAIN: MatMulAttrs = { alpha: 1, transposeX: false, transposeY: false, batchFirstX: false, batchFirstY: false };

/** Moves axis 0 behind the batch axes. */
const lastRow = (b: Builder, x: Value): Value => {
  const rank = x.type.shape.length;
  if (rank < 3) return x;
  return b.transpose(x, [...Array.from({ length: rank - 2 }, (_, k) => k + 1), 0, rank - 1]);
};

export const scale = (b: Builder, x: Value, factor: number): Value => (factor === 1 ? x : b.mul(x, factor));

function multiplyMatrices({ x, y }: { readonly x: Value; readonly y: Value }, a: MatMulAttrs, b: Builder): Value {
  const p = a.batchFirstX ? lastRow(b, x) : x;
  const q = a.batchFirstY ? lastRow(b, y) : y;
  const options = {
    transposeX: a.transposeX && x.type.shape.length > 1,
    transposeY: a.transposeY && y.type.shape.length > 1,
  };
  return activated(b, scale(b, b.matmul(p, q, options), a.alpha), a.activation);
}

const activated = (b: Builder, x: Value, f: Activation | undefined): Value => (f ? b.mapFloat([x], f) : x);

/** The activation of onnxruntime's fused products, if any. */
const fusedActivationOf = (n: NodeReader): Activation | undefined => {
  const parameter = (name: string): number | undefined => (n.has(name) ? n.float(name) : undefined);
  if (!n.has('activation')) return undefined;
  return activationNamed(n.string('activation'), parameter('activation_alpha'), parameter('activation_beta'));
};

const fusedMatMul = (n: NodeReader): MatMulAttrs => ({
  alpha: n.float('alpha', 1),
  transposeX: n.bool('transA', false),
  transposeY: n.bool('transB', false),
  batchFirstX: n.bool('transBatchA', false),
  batchFirstY: n.bool('transBatchB', false),
  activation: fusedActivationOf(n),
});

const MatMul = op('matmul', {
  doc: 'Matrix product with numpy rules for vectors and broadcast batch axes.',
  inputs: ['x', 'y'],
  onnx: {
    'MatMul@1': () => PLAIN,
    'com.microsoft:FusedMatMul@1': fusedMatMul,
    'com.microsoft:FusedMatMulActivation@1': fusedMatMul,
    'com.microsoft:TransposeMatMul@1': fusedMatMul,
  },
  tflite: {
    BATCH_MATMUL: (n) => ({ ...PLAIN, transposeX: n.bool('adj_x', false), transposeY: n.bool('adj_y', false) }),
  },
  quantized: integerOrRows(multiplyMatrices, integerMatmul),
  lower: multiplyMatrices,
  tolerance: { rtol: 1e-3, atol: 1e-5 },
  examples: [{ in: { x: [[1, 2]], y: [[3], [4]] }, attrs: { ...PLAIN }, out: [[11]] }],
});

interface GemmAttrs {
  readonly activation: Activation | undefined;
  readonly alpha: number;
  readonly beta: number;
  readonly transposeX: boolean;
  readonly transposeY: boolean;
}

const gemm = (n: NodeReader): GemmAttrs => ({
  activation: fusedActivationOf(n),
  alpha: n.float('alpha', 1),
  beta: n.float('beta', 1),
  transposeX: n.bool('transA', false),
  transposeY: n.bool('transB', false),
});

const Gemm = op('gemm', {
  doc: 'alpha · x·y + beta · c, with x and y transposed on request and c broadcast.',
  inputs: ['x', 'y', 'c?'],
  onnx: {
    'Gemm@1': gemm,
    'com.microsoft:FusedGemm@1': gemm,
  },
  lower: ({ x, y, c }, a: GemmAttrs, b) => {
    if (!isFloat(x.type.dtype) && ![a.alpha, a.beta].every(Number.isInteger)) {
      // Fractions of integers: real numbers, cut off at the end.
      const sum = b.mul(b.cast(b.matmul(x, y, a), 'f64'), a.alpha);
      return b.cast(c ? b.add(sum, b.mul(b.cast(c, 'f64'), a.beta)) : sum, x.type.dtype);
    }
    const xy = scale(b, b.matmul(x, y, a), a.alpha);
    return activated(b, c && a.beta !== 0 ? b.add(xy, scale(b, c, a.beta)) : xy, a.activation);
  },
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

/** v − zero point in i32; a vector of zero points belongs to rows or columns, the axis before last or the last. */
export function lessZero(b: Builder, v: Value, zero: Value | undefined, axis: 'row' | 'column'): Value {
  if (!zero) return b.cast(v, 'i32');
  const rows = axis === 'row' && zero.type.shape.length === 1 && zero.type.shape[0] !== 1;
  return b.map([v, rows ? b.unsqueeze(zero, [1]) : zero], (p, z) => e.sub(cast(p, 'i32'), cast(z, 'i32')));
}

/** 16-bit factors: u32 where neither has a sign. */
const MatMulInteger16 = op('matmul_integer_16', {
  doc: 'Product of 16-bit integer matrices, summed in 32 bits.',
  inputs: ['x', 'y'],
  onnx: { 'com.microsoft:MatMulInteger16@1': () => ({}) },
  lower: ({ x, y }, _a, b) => {
    const sum = b.matmul(b.cast(x, 'i32'), b.cast(y, 'i32'), { acc: 'i32' });
    return x.type.dtype === 'u16' && y.type.dtype === 'u16' ? b.cast(sum, 'u32') : sum;
  },
});

const MatMulInteger = op('matmul_integer', {
  doc: 'Product of 8-bit integer matrices less their zero points, summed in 32 bits.',
  inputs: ['x', 'y', 'x_zero?', 'y_zero?'],
  onnx: { 'MatMulInteger@10': () => ({}) },
  lower: ({ x, y, x_zero, y_zero }, _a, b) =>
    b.matmul(lessZero(b, x, x_zero, 'row'), lessZero(b, y, y_zero, 'column'), { acc: 'i32' }),
});

/** Replaces the ellipsis of each term by letters nobody uses, one per axis it covers, aligned at the right. */
function expandEllipsis(terms: readonly string[], output: string | undefined, ranks: readonly number[]) {
  const covered = terms.map((t, k) => (ranks[k] as number) - t.replace('...', '').length);
  const most = Math.max(0, ...terms.map((t, k) => (t.includes('...') ? (covered[k] as number) : 0)));
  const letters = Array.from({ length: most }, (_, k) => String.fromCharCode(0x100 + k)).join('');
  const expanded = terms.map((t, k) => t.replace('...', letters.slice(most - Math.max(0, covered[k] as number))));
  const all = expanded.join('');
  const once = [...new Set(all)].filter((c) => !letters.includes(c) && all.split(c).length === 2).sort();
  return { terms: expanded, output: output === undefined ? letters + once.join('') : output.replace('...', letters) };
}

/** Contracts operands from the left, two at a time; letters that nobody else needs are summed first. */
function contract(b: Builder, terms: readonly string[], output: string, values: readonly Value[]): Value {
  const needed = (skip: number): string => output + terms.filter((_, k) => k !== skip).join('');
  const reduced = terms.map((t, k) => (terms.length === 1 ? t : [...t].filter((c) => needed(k).includes(c)).join('')));
  const inputs = values.map((v, k) =>
    reduced[k] === terms[k] ? v : b.einsum(`${terms[k]}->${unique(reduced[k] as string)}`, [v]),
  );
  const shown = reduced.map((t, k) => (t === terms[k] ? t : unique(t)));
  if (inputs.length <= 2) return b.einsum(`${shown.join(',')}->${output}`, inputs);
  const rest = shown.slice(2);
  const kept = unique(`${shown[0]}${shown[1]}`)
    .split('')
    .filter((c) => (output + rest.join('')).includes(c))
    .join('');
  const first = b.einsum(`${shown[0]},${shown[1]}->${kept}`, inputs.slice(0, 2));
  return contract(b, [kept, ...rest], output, [first, ...inputs.slice(2)]);
}

const unique = (letters: string): string => [...new Set(letters)].join('');

const Einsum = op('einsum', {
  doc: 'Einstein summation: repeated letters, diagonals, ellipsis and implicit outputs.',
  inputs: ['xs*'],
  onnx: { 'Einsum@12': (n): { equation: string } => ({ equation: n.string('equation') }) },
  lower: ({ xs }, { equation }: { equation: string }, b) => {
    const [left = '', right] = equation.replaceAll(/\s/g, '').split('->');
    const terms = left.split(',');
    if (terms.length !== xs.length)
      throw new CompileError('E203', `"${equation}" names ${terms.length} operands, ${xs.length} are given`);
    const full = expandEllipsis(
      terms,
      right,
      xs.map((v) => v.type.shape.length),
    );
    return contract(b, full.terms, full.output, xs);
  },
  tolerance: { rtol: 1e-3, atol: 1e-5 },
  examples: [
    {
      in: {
        xs: [
          [
            [1, 2],
            [3, 4],
          ],
        ],
      },
      attrs: { equation: 'ii' },
      out: 5,
    },
  ],
});

interface FullyConnectedAttrs {
  readonly keepDims: boolean;
  readonly activation: FusedActivation;
  readonly format: string;
}

interface FullyConnectedInputs {
  readonly x: Value;
  readonly w: Value;
  readonly bias: Value | undefined;
}

function fullyConnected(
  { x, w, bias }: FullyConnectedInputs,
  a: FullyConnectedAttrs,
  b: Builder,
  ctx: LowerContext,
): Value {
  if (a.format !== 'DEFAULT') ctx.limit(`weights in format ${a.format}`, 'Convert the model without shuffled weights');
  const width = w.type.shape[1] ?? 1;
  const rows = a.keepDims ? x : b.reshape(x, [floordiv(product(x.type.shape), width), width]);
  const y = b.matmul(rows, w, { transposeY: true });
  return fusedActivation(b, addBias(b, y, bias, CHANNELS_LAST), a.activation);
}

const FullyConnected = op('fully_connected', {
  doc: 'TFLite: x · wᵀ + bias over the last axis, with a fused activation.',
  inputs: ['x', 'w', 'bias?'],
  tflite: {
    FULLY_CONNECTED: (n): FullyConnectedAttrs => ({
      keepDims: n.bool('keep_num_dims', false),
      activation: activationOf(n),
      format: n.string('weights_format', 'DEFAULT'),
    }),
  },
  lower: fullyConnected,
  quantized: scaledOrRows(fullyConnected, integerFullyConnected),
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

export const records: readonly AnyRecord[] = [MatMul, Gemm, MatMulInteger, MatMulInteger16, Einsum, FullyConnected];
