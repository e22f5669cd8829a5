// Convolution whose taps move: each tap of each window has an offset of its own, and reads between elements by linear
// interpolation, zero outside. One sum over channels, taps and the corners around each point.

import { addBias } from './bias.js';
import type { Builder } from '../../ir/builder.js';
import { type Dim, floordiv } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { type ConvSpec, checkGroups, OIK, resolveConv } from './convolution.js';
import { statType } from './norm.js';
import { type AnyRecord, type NodeReader, op } from './record.js';
import { CHANNELS_FIRST, onnxWindow, type WindowAttrs, type WindowAxis, windowIndex } from './window.js';

interface DeformAttrs extends WindowAttrs {
  readonly group: number;
  readonly offsetGroups: number;
}

const deform = (n: NodeReader): DeformAttrs => ({
  ...onnxWindow(n),
  group: n.int('group', 1),
  offsetGroups: n.int('offset_group', 1),
});

interface Moved {
  readonly offset: Value;
  readonly mask: Value | undefined;
  readonly offsetGroups: number;
}

function deformed(b: Builder, spec: ConvSpec, { offset, mask, offsetGroups }: Moved): Value {
  const { x, w } = spec;
  const { axes, out, input, groups } = resolveConv(spec);
  const [batch, channels] = x.type.shape as [Dim, Dim];
  const t = statType(x.type.dtype);
  const rank = axes.length;
  const taps = axes.reduce((n, a) => n * a.kernel, 1);
  const sum = b.generic({
    shape: [batch, out, ...axes.map((a) => a.out)],
    reduce: [input, ...axes.map((a) => a.kernel), ...axes.map(() => 2)],
    reducer: 'add',
    body: (i, r, read) => {
      const [n, o, ...place] = i as [Expr, Expr, ...Expr[]];
      const [c, tap, corner] = [r[0] as Expr, r.slice(1, 1 + rank), r.slice(1 + rank)];
      const channel = e.add(e.mul(e.div(o, e.dim(floordiv(out, groups))), e.dim(input)), c);
      const offsetGroup = e.div(channel, e.dim(floordiv(channels, offsetGroups)));
      const flat = tap.reduce((p, v, k) => e.add(e.mul(p, (axes[k] as WindowAxis).kernel), v), i32(0) as Expr);
      const slot = e.add(e.mul(offsetGroup, taps), flat);
      const points = axes.map((a, k) => {
        const moved = read(offset, [n, e.add(e.mul(slot, rank), k), ...place]);
        return e.add(cast(windowIndex(a, place[k] as Expr, tap[k] as Expr), t), cast(moved, t));
      });
      const at = points.map((p, k) => e.add(cast(e.floor(p), 'i32'), corner[k] as Expr));
      const near = points.map((p, k) => e.sub(1, e.abs(e.sub(p, cast(at[k] as Expr, t)))));
      const value = cast(read(x, [n, channel, ...at], { pad: 0 }), t);
      const weight = cast(read(w, [o, c, ...tap]), t);
      const kept = mask ? [cast(read(mask, [n, slot, ...place]), t)] : [];
      return e.mul(value, weight, ...near, ...kept);
    },
  });
  return b.cast(sum, x.type.dtype);
}

const DeformConv = op('deform_conv', {
  doc: 'Deformable convolution: taps moved by offsets, read by linear interpolation and weighed by an optional mask.',
  inputs: ['x', 'w', 'offset', 'bias?', 'mask?'],
  onnx: { 'DeformConv@19': deform },
  lower: ({ x, w, offset, bias, mask }, a: DeformAttrs, b) => {
    const spec: ConvSpec = { x, w, window: a, layout: CHANNELS_FIRST, weights: OIK };
    checkGroups(spec, a.group);
    return addBias(b, deformed(b, spec, { offset, mask, offsetGroups: a.offsetGroups }), bias, CHANNELS_FIRST);
  },
  tolerance: { rtol: 1e-3, atol: 1e-5 },
});

export const records: readonly AnyRecord[] = [DeformConv];
