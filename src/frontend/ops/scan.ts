// ONNX Scan: the slices of some inputs along an axis, one after the other, through a body that carries state.
// Version 8 adds a batch axis and lengths per batch element: that is a scan over the batch around a scan over steps.

import type { Builder } from '../../ir/builder.js';
import { type Dim, dimEq, sub, upperBound } from '../../ir/dim.js';
import type { Value } from '../../ir/tensor.js';
import type { SourceGraph } from '../source.js';
import { scanBody } from './loop-body.js';
import { type AnyRecord, type LowerContext, op } from './record.js';
import { computedSize } from './runtime-sizes.js';
import { cast } from '../../ir/scalar.js';

interface ScanAttrs {
  readonly body: SourceGraph;
  readonly scanned: number;
  readonly inputAxes: readonly number[];
  readonly outputAxes: readonly number[];
  readonly inputReversed: readonly number[];
  readonly outputReversed: readonly number[];
}

/** Moves `axis` to the front (and turns it round), so that a scan can take slices. */
function toFront(b: Builder, x: Value, axis: number, reversed: boolean): Value {
  const k = b.axis(x, axis);
  const perm = [k, ...x.type.shape.map((_, d) => d).filter((d) => d !== k)];
  const moved = b.transpose(x, perm);
  return reversed ? b.flip(moved, [0]) : moved;
}

/** The other way round, for a stacked output. */
function fromFront(b: Builder, x: Value, axis: number, reversed: boolean): Value {
  const k = b.axis(x, axis);
  const turned = reversed ? b.flip(x, [0]) : x;
  const rest = x.type.shape.map((_, d) => d).slice(1);
  return b.transpose(turned, [...rest.slice(0, k), 0, ...rest.slice(k)]);
}

function steps(scanned: readonly Value[], ctx: LowerContext): Dim {
  const sizes = scanned.map((v) => v.type.shape[0] as Dim);
  const known = sizes.find((d) => typeof d === 'number') ?? sizes[0];
  if (known === undefined) return ctx.limit('a scan without scanned inputs has no length');
  if (sizes.some((d) => typeof d === 'number' && !dimEq(d, known)))
    return ctx.limit(`the scanned inputs have different lengths`);
  return known;
}

/** The scan of version 9: everything along axis 0 already. */
function plainScan(
  b: Builder,
  ctx: LowerContext,
  body: SourceGraph,
  count: Dim,
  states: readonly Value[],
  scanned: readonly Value[],
) {
  return b.scan(count, states, scanned, (_step, carried, slices) =>
    scanBody(ctx, carried, () => ctx.importGraph(body, [...carried, ...slices])),
  );
}

export const records: readonly AnyRecord[] = [
  op('scan', {
    doc: 'Runs a subgraph on successive slices of its inputs, handing state from one step to the next.',
    inputs: ['xs*'],
    onnx: {
      'Scan@9': (n): ScanAttrs => ({
        body: n.graph('body'),
        scanned: n.int('num_scan_inputs'),
        inputAxes: n.ints('scan_input_axes', []),
        outputAxes: n.ints('scan_output_axes', []),
        inputReversed: n.ints('scan_input_directions', []),
        outputReversed: n.ints('scan_output_directions', []),
      }),
    },
    lower({ xs }, a, b, ctx) {
      const carried = xs.slice(0, xs.length - a.scanned);
      const scanned = xs
        .slice(carried.length)
        .map((v, k) => toFront(b, v, a.inputAxes[k] ?? 0, a.inputReversed[k] === 1));
      const outs = plainScan(b, ctx, a.body, steps(scanned, ctx), carried, scanned);
      return outs.map((v, at) => {
        const k = at - carried.length;
        return k < 0 ? v : fromFront(b, v, a.outputAxes[k] ?? 0, a.outputReversed[k] === 1);
      });
    },
    limits: ['State keeps its shape from step to step, and so do the slices given out.'],
  }),
  op('batch_scan', {
    doc: 'The first form of Scan: batch axis 0, steps along axis 1, and a length for each batch element.',
    inputs: ['lengths?', 'xs*'],
    onnx: {
      'Scan@8': (n) => ({
        body: n.graph('body'),
        scanned: n.int('num_scan_inputs'),
        reversed: n.ints('directions', []),
      }),
    },
    lower({ lengths, xs }, a, b, ctx) {
      const states = xs.length - a.scanned;
      const batch = xs[0]?.type.shape[0] ?? ctx.limit('a scan needs inputs');
      const outs = b.scan(batch, [], [...(lengths ? [lengths] : []), ...xs], (_step, _carried, slices) => {
        const [length, rest] = lengths ? [slices[0], slices.slice(1)] : [undefined, slices];
        const scanned = rest.slice(states).map((v, k) => (a.reversed[k] === 1 ? b.flip(v, [0]) : v));
        const most = steps(scanned, ctx);
        const count = length
          ? computedSize(b, 'steps', 0, upperBound(most, 'a scan'), (read) => cast(read(length, []), 'i32'))
          : most;
        const inner = plainScan(b, ctx, a.body, count, rest.slice(0, states), scanned);
        return inner.map((v, k) => (k < states ? v : b.pad(v, [0], [sub(most, count)], 0)));
      });
      return outs;
    },
  }),
];
