// Non-max suppression as loop programs: candidates in order of score; one is kept unless it overlaps a kept one too much.
// ONNX suppresses above the threshold, per batch and class, and gives as many rows as were kept; TFLite suppresses at
// the threshold and fills a fixed number of rows. A degenerate box overlaps nothing, not even itself.

import type { Builder } from '../../ir/builder.js';
import { type Dim, min, mul } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { type Buf, buildKernel, type KernelBuilder } from '../../ir/kernel-builder.js';
import { cast, constant, dimExpr, type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { both, byValue, mergeSort } from './ordering.js';
import { type AnyRecord, type LowerContext, op } from './record.js';
import { declaredSize } from './runtime-sizes.js';

/** Corners with lo ≤ hi. */
export interface Corners {
  readonly y: readonly [Expr, Expr];
  readonly x: readonly [Expr, Expr];
}

/** Reads four numbers as [y1, x1, y2, x2] in any order of corners, or as [xc, yc, w, h]. */
export function corners(k: KernelBuilder, at: (n: number) => Expr, centered: boolean): Corners {
  const v = [0, 1, 2, 3].map((n) => k.let(at(n), 'edge')) as [Expr, Expr, Expr, Expr];
  const span = (c: Expr, size: Expr): [Expr, Expr] => [
    k.let(e.sub(c, e.div(size, 2)), 'lo'),
    k.let(e.add(c, e.div(size, 2)), 'hi'),
  ];
  const sorted = (a: Expr, b: Expr): [Expr, Expr] => [k.let(e.min(a, b), 'lo'), k.let(e.max(a, b), 'hi')];
  if (centered) return { y: span(v[1], v[3]), x: span(v[0], v[2]) };
  return { y: sorted(v[0], v[2]), x: sorted(v[1], v[3]) };
}

/** Intersection over union; 0 where a box is degenerate. */
function overlap(k: KernelBuilder, p: Corners, q: Corners): Expr {
  const area = (c: Corners): Expr => k.let(e.mul(e.sub(c.y[1], c.y[0]), e.sub(c.x[1], c.x[0])), 'area');
  const shared = (a: readonly [Expr, Expr], b: readonly [Expr, Expr]): Expr =>
    e.max(e.sub(e.min(a[1], b[1]), e.max(a[0], b[0])), 0);
  const [one, two] = [area(p), area(q)];
  const common = k.let(e.mul(shared(p.y, q.y), shared(p.x, q.x)), 'common');
  const union = k.let(e.sub(e.add(one, two), common), 'union');
  const fine = both(e.lt(0, one), e.lt(0, two), e.lt(0, union));
  const zero = constant(0, union.dtype);
  return k.let(e.select(fine, e.div(common, e.select(fine, union, constant(1, union.dtype))), zero), 'iou');
}

export interface Greedy {
  /** Number of boxes. */
  readonly n: Expr;
  readonly score: (i: Expr) => Expr;
  readonly eligible: (score: Expr) => Expr;
  readonly box: (i: Expr) => Corners;
  readonly suppresses: (iou: Expr) => Expr;
  readonly most: Expr;
  /** A kept box is looked at again, as TFLite does: one that does not suppress itself takes every place left. */
  readonly repeats: boolean;
  /** Scratch of n positions each. */
  readonly order: Buf;
  readonly temp: Buf;
  readonly kept: Buf;
}

/** Keeps positions in `kept`; returns how many (a mutable variable). */
export function greedy(k: KernelBuilder, g: Greedy): Expr {
  const candidates = k.mut(i32(0), 'candidates');
  k.for(0, g.n, (i) => {
    k.if(g.eligible(g.score(i)), () => {
      k.store(g.order, [candidates], i);
      k.set(candidates, e.add(candidates, 1));
    });
  });
  mergeSort(k, candidates, g.order, g.temp, byValue(k, g.score, true));
  const kept = k.mut(i32(0), 'kept');
  k.for(0, candidates, (r) => {
    k.if(e.le(g.most, kept), () => k.break());
    const i = k.let(k.load(g.order, [r]), 'box');
    const mine = g.box(i);
    const free = k.mut(constant(true, 'i1'), 'free');
    k.for(0, kept, (j) => {
      const iou = overlap(k, mine, g.box(k.load(g.kept, [j])));
      k.if(g.suppresses(iou), () => {
        k.set(free, constant(false, 'i1'));
        k.break();
      });
    });
    k.if(free, () => {
      k.store(g.kept, [kept], i);
      k.set(kept, e.add(kept, 1));
      if (g.repeats) {
        const alone = k.let(e.op('not', g.suppresses(overlap(k, mine, mine))), 'alone');
        k.while(both(alone, e.lt(kept, g.most), e.lt(kept, candidates)), () => {
          k.store(g.kept, [kept], i);
          k.set(kept, e.add(kept, 1));
        });
      }
    });
  });
  return kept;
}

/** A one-element input as a scalar expression of a type, where absent a constant. */
function parameter(k: KernelBuilder, buf: Buf | undefined, fallback: Expr): Expr {
  return buf
    ? k.let(
        cast(
          k.load(
            buf,
            buf.shape.map(() => 0),
          ),
          fallback.dtype,
        ),
        'parameter',
      )
    : fallback;
}

interface OnnxInputs {
  readonly boxes: Value;
  readonly scores: Value;
  readonly most: Value | undefined;
  readonly iou: Value | undefined;
  readonly threshold: Value | undefined;
}

function onnxNms(b: Builder, inputs: OnnxInputs, centered: boolean): Value {
  const { boxes, scores, most, iou, threshold } = inputs;
  const [batch, classes, n] = scores.type.shape as [Dim, Dim, Dim];
  const limit = most ? b.values(most)?.[0] : 0;
  const optional = [most, iou, threshold].filter((v): v is Value => v !== undefined);
  const rows = mul(mul(batch, classes), typeof limit === 'number' ? min(Math.max(limit, 0), n) : n);
  const [out] = buildKernel(b, 'nms', [boxes, scores, ...optional], (k) => {
    const [boxBuf, scoreBuf, ...rest] = k.inputs as [Buf, Buf, ...Buf[]];
    const next = (v: Value | undefined): Buf | undefined => (v ? rest.shift() : undefined);
    const [mostBuf, iouBuf, thresholdBuf] = [next(most), next(iou), next(threshold)];
    const count = k.count('selected', rows);
    const selected = k.output('i64', [count.dim, 3]);
    const [order, temp, kept] = ['order', 'temp', 'kept'].map((name) => k.scratch(name, 'i32', [n])) as [Buf, Buf, Buf];
    const perClass = k.let(e.clamp(parameter(k, mostBuf, constant(0, 'i64')), 0n, BigInt(2 ** 31 - 1)), 'most');
    const iouLimit = parameter(k, iouBuf, constant(0, boxes.type.dtype));
    const least = thresholdBuf && parameter(k, thresholdBuf, constant(0, scores.type.dtype));
    const total = k.mut(i32(0), 'total');
    k.forEach([batch, classes], ([image, c]) => {
      const found = greedy(k, {
        n: dimExpr(n),
        score: (i) => k.load(scoreBuf, [image as Expr, c as Expr, i]),
        eligible: (s) => (least ? e.lt(least, s) : constant(true, 'i1')),
        box: (i) => corners(k, (j) => k.load(boxBuf, [image as Expr, i, j]), centered),
        suppresses: (x) => e.lt(iouLimit, x),
        most: cast(perClass, 'i32'),
        repeats: false,
        order,
        temp,
        kept,
      });
      k.for(0, found, (r) => {
        const row = [image as Expr, c as Expr, k.load(kept, [r])];
        row.forEach((v, j) => {
          k.store(selected, [total, j], cast(v, 'i64'));
        });
        k.set(total, e.add(total, 1));
      });
    });
    count.store(total);
  });
  return out as Value;
}

const NonMaxSuppression = op('non_max_suppression', {
  doc: 'Per batch and class, the boxes kept in order of score, none overlapping a better one too much.',
  inputs: ['boxes', 'scores', 'most?', 'iou?', 'threshold?'],
  onnx: { 'NonMaxSuppression@10': (n) => ({ centered: n.bool('center_point_box', false) }) },
  lower: (inputs, { centered }, b) => onnxNms(b, inputs, centered),
  limits: ['The result holds at most batch × classes × boxes rows in memory.'],
});

interface TfliteInputs {
  readonly boxes: Value;
  readonly scores: Value;
  readonly most: Value;
  readonly iou: Value;
  readonly threshold: Value;
  readonly sigma?: Value | undefined;
}

/** Outputs: positions, scores and count; rows after the count are zero. */
function tfliteNms(b: Builder, inputs: TfliteInputs, ctx: LowerContext): readonly Value[] {
  const { boxes, scores, most, iou, threshold, sigma } = inputs;
  const rows = b.values(most)?.[0] ?? declaredSize(ctx, 0, 0);
  if (rows === undefined) return ctx.limit('the number of boxes to keep depends on data', 'Make it a constant');
  const [n] = scores.type.shape as [Dim];
  const soft = sigma !== undefined && b.values(sigma)?.[0] !== 0;
  return buildKernel(b, 'nms', [boxes, scores, iou, threshold, ...(soft ? [sigma] : [])], (k) => {
    const [boxBuf, scoreBuf, iouBuf, thresholdBuf, sigmaBuf] = k.inputs as [Buf, Buf, Buf, Buf, Buf | undefined];
    const positions = k.output('i32', [rows]);
    const values = k.output('f32', [rows]);
    const found = k.output('i32', []);
    const limit = k.let(parameter(k, iouBuf, constant(0, 'f32')), 'limit');
    const least = k.let(parameter(k, thresholdBuf, constant(0, 'f32')), 'least');
    k.for(0, dimExpr(rows), (r) => {
      k.store(positions, [r], 0);
      k.store(values, [r], 0);
    });
    const t: SoftTask = {
      n,
      rows: dimExpr(rows),
      scoreBuf,
      box: (i) => corners(k, (j) => k.load(boxBuf, [i, j]), false),
      limit,
      least,
      positions,
      values,
    };
    const count = sigmaBuf ? softSuppression(k, t, parameter(k, sigmaBuf, constant(0, 'f32'))) : hardSuppression(k, t);
    k.store(found, [], count);
  });
}

interface SoftTask {
  readonly n: Dim;
  readonly rows: Expr;
  readonly scoreBuf: Buf;
  readonly box: (i: Expr) => Corners;
  readonly limit: Expr;
  readonly least: Expr;
  readonly positions: Buf;
  readonly values: Buf;
}

function hardSuppression(k: KernelBuilder, t: SoftTask): Expr {
  const [order, temp, kept] = ['order', 'temp', 'kept'].map((name) => k.scratch(name, 'i32', [t.n])) as [Buf, Buf, Buf];
  const score = (i: Expr): Expr => k.load(t.scoreBuf, [i]);
  const count = greedy(k, {
    n: dimExpr(t.n),
    score,
    eligible: (s) => e.lt(t.least, s),
    box: t.box,
    suppresses: (iou) => e.le(t.limit, iou),
    most: t.rows,
    repeats: true,
    order,
    temp,
    kept,
  });
  k.for(0, count, (r) => {
    k.store(t.positions, [r], k.load(kept, [r]));
    k.store(t.values, [r], score(k.load(kept, [r])));
  });
  return count;
}

/** Scores decay by exp(−iou²/2σ) with each kept box that overlaps; the best current score is looked at next. */
function softSuppression(k: KernelBuilder, t: SoftTask, sigma: Expr): Expr {
  const current = k.scratch('current', 'f32', [t.n]);
  const compared = k.scratch('compared', 'i32', [t.n]);
  const scale = k.let(e.select(e.lt(0, sigma), e.div(constant(-0.5, 'f32'), sigma), constant(0, 'f32')), 'scale');
  const out = constant(-Infinity, 'f32');
  const none = i32(-1);
  k.for(0, dimExpr(t.n), (i) => {
    const s = k.load(t.scoreBuf, [i]);
    k.store(current, [i], e.select(e.lt(t.least, s), s, out));
    k.store(compared, [i], 0);
  });
  const count = k.mut(i32(0), 'count');
  const best = k.mut(i32(0), 'best');
  k.while(both(e.lt(count, t.rows), e.le(0, best)), () => {
    const top = k.mut(out, 'top');
    k.set(best, none);
    k.for(0, dimExpr(t.n), (i) => {
      k.if(e.lt(top, k.load(current, [i])), () => {
        k.set(top, k.load(current, [i]));
        k.set(best, i);
      });
    });
    k.if(e.le(0, best), () => {
      const score = k.mut(top, 'score');
      const mine = t.box(best);
      const suppressed = k.mut(constant(false, 'i1'), 'suppressed');
      k.for(k.load(compared, [best]), count, (step) => {
        const j = e.sub(e.sub(count, 1), e.sub(step, k.load(compared, [best])));
        const iou = overlap(k, mine, t.box(k.load(t.positions, [j])));
        k.if(e.le(t.limit, iou), () => {
          k.set(suppressed, constant(true, 'i1'));
          k.break();
        });
        k.set(score, e.mul(score, e.exp(e.mul(scale, e.mul(iou, iou)))));
        k.if(e.le(score, t.least), () => k.break());
      });
      k.store(compared, [best], count);
      k.if(both(e.eq(score, top), e.op('not', suppressed)), () => {
        k.store(t.positions, [count], best);
        k.store(t.values, [count], score);
        k.set(count, e.add(count, 1));
      });
      k.store(current, [best], e.select(both(e.lt(t.least, score), e.op('not', suppressed)), score, out));
    });
  });
  return count;
}

const TFLITE_INPUTS = ['boxes', 'scores', 'most', 'iou', 'threshold', 'sigma?'] as const;

export const records: readonly AnyRecord[] = [
  NonMaxSuppression,
  op('non_max_suppression_fixed', {
    doc: 'Positions of the boxes kept, filled up with zeros, and how many there are; scores may decay with overlap.',
    inputs: TFLITE_INPUTS,
    tflite: {
      NON_MAX_SUPPRESSION_V4: () => ({ scores: false }),
      NON_MAX_SUPPRESSION_V5: () => ({ scores: true }),
    },
    lower(inputs, a, b, ctx) {
      const [positions, values, count] = tfliteNms(b, inputs, ctx) as [Value, Value, Value];
      return a.scores ? [positions, values, count] : [positions, count];
    },
  }),
];
