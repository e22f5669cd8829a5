// Convolution operators: how each format states layout, window and groups. The arithmetic is in convolution.ts.

import { addBias } from './bias.js';
import type { Builder } from '../../ir/builder.js';
import { add, type Dim, max, mul, sub } from '../../ir/dim.js';
import type { Value } from '../../ir/tensor.js';
import {
  type ConvSpec,
  centred,
  centredInput,
  checkGroups,
  convolution,
  DEPTHWISE,
  fixedTaps,
  IOK,
  KIO,
  KOI,
  OIK,
  OKI,
  type WeightLayout,
} from './convolution.js';
import { type TransposedAxis, transposedConvolution } from './transposed-convolution.js';
import { activationOf, type FusedActivation, fusedActivation } from './fused-activation.js';
import { type Activation, activationNamed } from './rnn-activations.js';
import { type AnyRecord, type LowerContext, type NodeReader, op } from './record.js';
import { sizesFrom } from './runtime-sizes.js';
import {
  autoPadOf,
  CHANNELS_FIRST,
  CHANNELS_LAST,
  type Layout,
  onnxWindow,
  splitPadding,
  tfliteWindow,
  type WindowAttrs,
  windowAxes,
} from './window.js';
import { integerConvolution, integerTransposeConvolution } from './quantized/contraction.js';
import { integerOr, scaledOrImages } from './quantized/hybrid.js';

interface ConvAttrs extends WindowAttrs {
  readonly group: number;
  readonly layout: Layout;
  readonly activation: Activation | undefined;
}

const onnxConv =
  (layout: Layout) =>
  (n: NodeReader): ConvAttrs => {
    const name = n.string('activation', '');
    return {
      ...onnxWindow(n),
      group: n.int('group', 1),
      layout,
      activation: name ? activationNamed(name, ...n.floats('activation_params', [])) : undefined,
    };
  };

const Conv = op('conv', {
  doc: 'Convolution over any number of spatial axes, with groups, strides, dilations and padding.',
  inputs: ['x', 'w', 'bias?', 'sum?'],
  onnx: {
    'Conv@1': onnxConv(CHANNELS_FIRST),
    'com.microsoft:FusedConv@1': onnxConv(CHANNELS_FIRST),
    'com.microsoft:NhwcConv@1': onnxConv(CHANNELS_LAST),
    'com.microsoft:NhwcFusedConv@1': onnxConv(CHANNELS_LAST),
  },
  lower: ({ x, w, bias, sum }, a: ConvAttrs, b) => {
    const spec: ConvSpec = { x, w, window: a, layout: a.layout ?? CHANNELS_FIRST, weights: OIK };
    checkGroups(spec, a.group);
    const y = addBias(b, convolution(b, spec), bias, spec.layout);
    const total = sum ? b.add(y, sum) : y;
    return a.activation ? b.mapFloat([total], a.activation) : total;
  },
  tolerance: { rtol: 1e-3, atol: 1e-5 },
  examples: [{ in: { x: [[[1, 2, 3]]], w: [[[1, 1]]] }, attrs: { ...windowDefaults(), group: 1 }, out: [[[3, 5]]] }],
});

function windowDefaults() {
  return { kernel: [], strides: [], dilations: [], pads: [], autoPad: 'explicit', ceil: false };
}

const ConvInteger = op('conv_integer', {
  doc: 'Convolution of 8-bit integers less their zero points, summed in 32 bits.',
  inputs: ['x', 'w', 'x_zero?', 'w_zero?'],
  onnx: { 'ConvInteger@10': onnxConv(CHANNELS_FIRST) },
  lower: ({ x, w, x_zero, w_zero }, a: ConvAttrs, b) => {
    const spec: ConvSpec = {
      ...centredInput(b, x, x_zero),
      w: centred(b, w, w_zero, 0),
      window: a,
      layout: CHANNELS_FIRST,
      weights: OIK,
      acc: 'i32',
    };
    checkGroups(spec, a.group);
    return convolution(b, spec);
  },
});

interface TransposeAttrs extends WindowAttrs {
  readonly group: number;
  readonly outputPadding: readonly number[];
  readonly outputShape: readonly number[];
}

const ConvTranspose = op('conv_transpose', {
  doc: 'Transposed convolution: the adjoint of Conv, channels first.',
  inputs: ['x', 'w', 'bias?'],
  onnx: {
    'ConvTranspose@1': (n): TransposeAttrs => ({
      ...onnxWindow(n),
      group: n.int('group', 1),
      outputPadding: n.ints('output_padding', []),
      outputShape: n.ints('output_shape', []),
    }),
  },
  lower: ({ x, w, bias }, a: TransposeAttrs, b) => {
    const { spatial } = CHANNELS_FIRST.parts(x.type.shape);
    const kernel = fixedTaps(IOK.sizes(w.type.shape).taps);
    const axes = spatial.map((size, k) => transposedAxis(a, size, k, kernel[k] ?? 1, spatial.length));
    const y = transposedConvolution(b, { x, w, layout: CHANNELS_FIRST, weights: IOK, groups: a.group, axes });
    return addBias(b, y, bias, CHANNELS_FIRST);
  },
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

/** Output size and leading crop of one axis, from whichever of pads, output_shape and auto_pad is given. */
function transposedAxis(a: TransposeAttrs, size: Dim, k: number, kernel: number, rank: number): TransposedAxis {
  const [stride, dilation] = [a.strides[k] ?? 1, a.dilations[k] ?? 1];
  const extra = a.outputPadding[k] ?? 0;
  const full = add(add(mul(sub(size, 1), stride), (kernel - 1) * dilation + 1), extra);
  const wanted = a.outputShape.at(k - rank) ?? (a.autoPad.startsWith('same') ? mul(size, stride) : undefined);
  const shared = { kernel, stride, dilation };
  if (wanted !== undefined) {
    const total = max(0, sub(full, wanted));
    // With output_shape alone the odd element is cropped in front, as for SAME_LOWER.
    const [before] = splitPadding(total, a.autoPad === 'same_upper' ? 'same_upper' : 'same_lower');
    return { ...shared, before, out: wanted };
  }
  const [before, after] = a.autoPad === 'explicit' ? [a.pads[k] ?? 0, a.pads[k + rank] ?? 0] : [0, 0];
  return { ...shared, before, out: sub(full, before + after) };
}

interface TfliteConv extends WindowAttrs {
  readonly activation: FusedActivation;
}

/** Channels last, channel counts say which groups there are; float and, with integer activations, integer. */
function tfliteConvolution(weights: WeightLayout) {
  const lower = ({ x, w, bias }: ConvInputs, a: TfliteConv, b: Builder) => {
    const y = convolution(b, { x, w, window: a, layout: CHANNELS_LAST, weights });
    return fusedActivation(b, addBias(b, y, bias, CHANNELS_LAST), a.activation);
  };
  return { lower, quantized: scaledOrImages(lower, integerConvolution(weights)) };
}

interface ConvInputs {
  readonly x: Value;
  readonly w: Value;
  readonly bias: Value | undefined;
}

const Conv2d = op('conv_2d', {
  doc: 'TFLite 2-D convolution, channels last; groups follow from the channel counts.',
  inputs: ['x', 'w', 'bias?'],
  tflite: { CONV_2D: (n): TfliteConv => ({ ...tfliteWindow(n, []), activation: activationOf(n) }) },
  ...tfliteConvolution(OKI),
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

const DepthwiseConv2d = op('depthwise_conv_2d', {
  doc: 'TFLite depthwise convolution: output channel c·m + j reads input channel c alone.',
  inputs: ['x', 'w', 'bias?'],
  tflite: { DEPTHWISE_CONV_2D: (n): TfliteConv => ({ ...tfliteWindow(n, []), activation: activationOf(n) }) },
  ...tfliteConvolution(DEPTHWISE),
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

const window3d = (n: NodeReader): TfliteConv => ({
  kernel: [],
  strides: [n.int('stride_d', 1), n.int('stride_h', 1), n.int('stride_w', 1)],
  dilations: [n.int('dilation_d_factor', 1), n.int('dilation_h_factor', 1), n.int('dilation_w_factor', 1)],
  pads: [],
  autoPad: autoPadOf(n.string('padding', 'SAME')),
  ceil: false,
  activation: activationOf(n),
});

const Conv3d = op('conv_3d', {
  doc: 'TFLite 3-D convolution, channels last.',
  inputs: ['x', 'w', 'bias?'],
  tflite: { CONV_3D: window3d },
  lower: ({ x, w, bias }, a: TfliteConv, b) => {
    const y = convolution(b, { x, w, window: a, layout: CHANNELS_LAST, weights: KIO });
    return fusedActivation(b, addBias(b, y, bias, CHANNELS_LAST), a.activation);
  },
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

/** TFLite's transposed convolutions state their output's shape first. */
type TransposeInputs = ConvInputs & { readonly shape: Value };

/** The crop TFLite derives from the wanted output size: that of the forward convolution which has it as its input. */
function transposedAxes(i: TransposeInputs, a: TfliteConv, weights: WeightLayout, b: Builder, ctx: LowerContext) {
  const kernel = fixedTaps(weights.sizes(i.w.type.shape).taps);
  return windowAxes(a, sizesFrom(b, i.shape, ctx).slice(1, -1), kernel).map((t) => ({ ...t, out: t.size }));
}

const transposeFloat =
  (weights: WeightLayout) =>
  (i: TransposeInputs, a: TfliteConv, b: Builder, ctx: LowerContext): Value => {
    const axes = transposedAxes(i, a, weights, b, ctx);
    const y = transposedConvolution(b, { x: i.x, w: i.w, layout: CHANNELS_LAST, weights, groups: 1, axes });
    return fusedActivation(b, addBias(b, y, i.bias, CHANNELS_LAST), a.activation);
  };

const TransposeConv = op('transpose_conv', {
  doc: 'TFLite 2-D transposed convolution to a stated output shape, channels last.',
  inputs: ['shape', 'w', 'x', 'bias?'],
  tflite: { TRANSPOSE_CONV: (n): TfliteConv => ({ ...tfliteWindow(n, []), activation: activationOf(n) }) },
  lower: transposeFloat(OKI),
  quantized: integerOr(transposeFloat(OKI), (i: TransposeInputs, a: TfliteConv, b, ctx) =>
    integerTransposeConvolution(i, transposedAxes(i, a, OKI, b, ctx), b, ctx),
  ),
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

const Conv3dTranspose = op('conv_3d_transpose', {
  doc: 'TFLite 3-D transposed convolution to a stated output shape, channels last.',
  inputs: ['shape', 'w', 'x', 'bias?'],
  tflite: { CONV_3D_TRANSPOSE: window3d },
  lower: transposeFloat(KOI),
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

export const records: readonly AnyRecord[] = [
  Conv,
  ConvInteger,
  ConvTranspose,
  Conv2d,
  DepthwiseConv2d,
  Conv3d,
  TransposeConv,
  Conv3dTranspose,
];
