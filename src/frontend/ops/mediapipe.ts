// Custom operators of MediaPipe's TFLite models. Their options are plain C structures: little-endian 32-bit fields.

import { addBias } from './bias.js';
import { add, type Dim, mul, sub } from '../../ir/dim.js';
import { fixedTaps, OKI } from './convolution.js';
import { type AnyRecord, type NodeReader, op } from './record.js';
import { transposedConvolution } from './transposed-convolution.js';
import { autoPadOf, CHANNELS_LAST, windowAxes } from './window.js';

/** Field `i` of the options; 0 where they end before it. */
function field(n: NodeReader, i: number): number {
  const raw = n.source.attrs.get('raw');
  if (raw?.kind !== 'bytes' || raw.value.byteLength < 4 * (i + 1)) return 0;
  return new DataView(raw.value.buffer, raw.value.byteOffset).getInt32(4 * i, true);
}

interface TransposeBias {
  readonly same: boolean;
  readonly strides: readonly [number, number];
}

export const records: readonly AnyRecord[] = [
  op<'x' | 'w' | 'bias', TransposeBias>('convolution_2d_transpose_bias', {
    doc: 'MediaPipe: transposed convolution with bias; its output size follows from the input’s.',
    inputs: ['x', 'w', 'bias'],
    tflite: {
      'custom:Convolution2DTransposeBias': (n) => ({ same: field(n, 0) === 1, strides: [field(n, 2), field(n, 1)] }),
    },
    lower: ({ x, w, bias }, { same, strides }, b) => {
      const kernel = fixedTaps(OKI.sizes(w.type.shape).taps);
      const { spatial } = CHANNELS_LAST.parts(x.type.shape);
      const sizes = spatial.map((d, k): Dim => {
        const stride = strides[k] ?? 1;
        return same ? mul(d, stride) : add(mul(sub(d, 1), stride), kernel[k] ?? 1);
      });
      const window = {
        kernel,
        strides,
        dilations: [],
        pads: [],
        autoPad: autoPadOf(same ? 'SAME' : 'VALID'),
        ceil: false,
      };
      const axes = windowAxes(window, sizes, kernel).map((t) => ({ ...t, out: t.size }));
      return addBias(
        b,
        transposedConvolution(b, { x, w, layout: CHANNELS_LAST, weights: OKI, groups: 1, axes }),
        bias,
        CHANNELS_LAST,
      );
    },
    tolerance: { rtol: 1e-3, atol: 1e-5 },
  }),
];
