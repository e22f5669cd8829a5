// TFLite's detection post-processing: box offsets around anchors become corners, then non-max suppression either over each
// box's best classes (fast) or class by class (regular), and the best detections fill a fixed number of rows.

import type { Builder } from '../../ir/builder.js';
import type { Dim } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { type Buf, buildKernel, type KernelBuilder } from '../../ir/kernel-builder.js';
import { cast, constant, type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { corners, type Greedy, greedy } from './nms.js';
import { byValue, mergeSort } from './ordering.js';
import { type AnyRecord, op } from './record.js';

interface Detection {
  readonly most: number;
  readonly perBox: number;
  readonly perClass: number;
  readonly classes: number;
  readonly regular: boolean;
  readonly score: number;
  readonly iou: number;
  /** Of y, x, h, w. */
  readonly scales: readonly [number, number, number, number];
}

/** Boxes [1, n, 4…] around anchors [n, 4] (centre and size) → [n, 4] as y1, x1, y2, x2. */
function decodeBoxes(b: Builder, boxes: Value, anchors: Value, { scales }: Detection): Value {
  return b.generic({
    shape: [boxes.type.shape[1] as Dim, 4],
    body: ([n, side], _r, read) => {
      const code = (k: number): Expr => e.div(read(boxes, [i32(0), n as Expr, i32(k)]), scales[k] as number);
      const anchor = (k: number): Expr => read(anchors, [n as Expr, i32(k)]);
      const edge = (axis: 0 | 1, low: boolean): Expr => {
        const centre = e.add(e.mul(code(axis), anchor(axis + 2)), anchor(axis));
        const half = e.mul(e.mul(e.exp(code(axis + 2)), 0.5), anchor(axis + 2));
        return low ? e.sub(centre, half) : e.add(centre, half);
      };
      const [y1, x1, y2, x2] = [edge(0, true), edge(1, true), edge(0, false), edge(1, false)];
      const [low, high] = [e.select(e.eq(side as Expr, 0), y1, x1), e.select(e.eq(side as Expr, 2), y2, x2)];
      return e.select(e.lt(side as Expr, 2), low, high);
    },
  });
}

/** Buffers and sizes of one run. */
interface Run {
  readonly k: KernelBuilder;
  readonly a: Detection;
  readonly n: Expr;
  readonly boxes: Buf;
  readonly scores: Buf;
  readonly out: { readonly boxes: Buf; readonly classes: Buf; readonly scores: Buf; readonly count: Buf };
  readonly order: Buf;
  readonly temp: Buf;
  readonly kept: Buf;
}

/** Greedy suppression with the given score of each box. */
const settings = (r: Run, score: (i: Expr) => Expr, most: number): Greedy => ({
  n: r.n,
  score,
  eligible: (s) => e.le(r.a.score, s),
  box: (i) => corners(r.k, (side) => r.k.load(r.boxes, [i, side]), false),
  suppresses: (iou) => e.gt(iou, r.a.iou),
  most: i32(most),
  repeats: false,
  order: r.order,
  temp: r.temp,
  kept: r.kept,
});

function emit(r: Run, row: Expr, box: Expr, category: Expr, score: Expr): void {
  for (let side = 0; side < 4; side++) r.k.store(r.out.boxes, [0, row, side], r.k.load(r.boxes, [box, side]));
  r.k.store(r.out.classes, [0, row], cast(category, 'f32'));
  r.k.store(r.out.scores, [0, row], score);
}

/** Each box competes with its best class; kept ones are given with their best `perBox` classes. */
function fast(r: Run, best: Buf, categories: Buf, spare: Buf): void {
  const { k, a } = r;
  const scoreOf = (box: Expr, c: Expr): Expr => k.load(r.scores, [box, c]);
  k.for(0, r.n, (box) => {
    const most = k.mut(scoreOf(box, i32(0)));
    k.for(1, a.classes, (c) => k.set(most, e.max(most, scoreOf(box, c))));
    k.store(best, [box], most);
  });
  const count = greedy(
    k,
    settings(r, (i) => k.load(best, [i]), a.most),
  );
  k.for(0, count, (row) => {
    const box = k.let(k.load(r.kept, [row]));
    k.for(0, a.classes, (c) => k.store(categories, [c], c));
    mergeSort(
      k,
      i32(a.classes),
      categories,
      spare,
      byValue(k, (c) => scoreOf(box, c), true),
    );
    k.for(0, a.perBox, (j) => {
      const c = k.let(k.load(categories, [j]));
      emit(r, e.add(e.mul(row, a.perBox), j), box, c, scoreOf(box, c));
    });
  });
  k.store(r.out.count, [0], cast(e.mul(count, a.perBox), 'f32'));
}

interface Pool {
  readonly box: Buf;
  readonly category: Buf;
  readonly score: Buf;
}

/** Suppression class by class; after each, only the best `most` of all so far go on. */
function regular(r: Run, pools: readonly [Pool, Pool], ranks: Buf, spare: Buf): void {
  const { k, a } = r;
  const [pool, other] = pools;
  const total = k.mut(i32(0));
  k.for(0, a.classes, (c) => {
    const count = greedy(
      k,
      settings(r, (i) => k.load(r.scores, [i, c]), a.perClass),
    );
    k.for(0, count, (j) => {
      const box = k.let(k.load(r.kept, [j]));
      const at = k.let(e.add(total, j));
      k.store(pool.box, [at], box);
      k.store(pool.category, [at], c);
      k.store(pool.score, [at], k.load(r.scores, [box, c]));
    });
    const all = k.let(e.add(total, count));
    k.for(0, all, (i) => k.store(ranks, [i], i));
    mergeSort(
      k,
      all,
      ranks,
      spare,
      byValue(k, (i) => k.load(pool.score, [i]), true),
    );
    k.set(total, e.min(all, a.most));
    for (const field of ['box', 'category', 'score'] as const) {
      k.for(0, total, (i) => k.store(other[field], [i], k.load(pool[field], [k.load(ranks, [i])])));
      k.for(0, total, (i) => k.store(pool[field], [i], k.load(other[field], [i])));
    }
  });
  k.for(0, total, (i) => emit(r, i, k.load(pool.box, [i]), k.load(pool.category, [i]), k.load(pool.score, [i])));
  k.store(r.out.count, [0], cast(total, 'f32'));
}

function detect(b: Builder, boxes: Value, scores: Value, a: Detection): readonly Value[] {
  const n = boxes.type.shape[0] as Dim;
  const rows = a.regular ? a.most : a.most * a.perBox;
  return buildKernel(b, 'detections', [boxes, scores], (k) => {
    const out = {
      boxes: k.output('f32', [1, rows, 4]),
      classes: k.output('f32', [1, rows]),
      scores: k.output('f32', [1, rows]),
      count: k.output('f32', [1]),
    };
    const ints = (name: string, size: Dim): Buf => k.scratch(name, 'i32', [size]);
    const [order, temp, kept] = [ints('order', n), ints('temp', n), ints('kept', n)];
    const r: Run = { k, a, n: e.dim(n), boxes: k.inputs[0] as Buf, scores: k.inputs[1] as Buf, out, order, temp, kept };
    k.for(0, rows, (i) => {
      for (let side = 0; side < 4; side++) k.store(out.boxes, [0, i, side], constant(0, 'f32'));
      k.store(out.classes, [0, i], constant(0, 'f32'));
      k.store(out.scores, [0, i], constant(0, 'f32'));
    });
    if (!a.regular)
      return fast(r, k.scratch('best', 'f32', [n]), ints('categories', a.classes), ints('spare', a.classes));
    const size = a.most + a.perClass;
    const pool = (): Pool => ({
      box: ints('box', size),
      category: ints('category', size),
      score: k.scratch('score', 'f32', [size]),
    });
    return regular(r, [pool(), pool()], ints('ranks', size), ints('spare', size));
  });
}

export const records: readonly AnyRecord[] = [
  op<'boxes' | 'scores' | 'anchors', Detection>('detection_postprocess', {
    doc: 'Boxes, classes, scores and number of detections from box offsets, class scores and anchors.',
    inputs: ['boxes', 'scores', 'anchors'],
    tflite: {
      'custom:TFLite_Detection_PostProcess': (n) => {
        const classes = n.int('num_classes');
        return {
          most: n.int('max_detections'),
          perBox: Math.min(n.int('max_classes_per_detection', 1), classes),
          perClass: n.int('detections_per_class', 100),
          classes,
          regular: n.bool('use_regular_nms', false),
          score: Math.fround(n.float('nms_score_threshold')),
          iou: Math.fround(n.float('nms_iou_threshold')),
          scales: [n.float('y_scale'), n.float('x_scale'), n.float('h_scale'), n.float('w_scale')],
        };
      },
    },
    lower: ({ boxes, scores, anchors }, a, b, ctx) => {
      const columns = scores.type.shape[2];
      if (typeof columns !== 'number' || columns < a.classes) return ctx.limit('fewer score columns than classes');
      const corner = decodeBoxes(b, boxes, anchors, a);
      // A first column beyond the classes is the background.
      const real = b.narrow(
        b.reshape(scores, [scores.type.shape[1] as Dim, columns]),
        1,
        columns - a.classes,
        a.classes,
      );
      return detect(b, corner, real, a);
    },
    tolerance: { rtol: 1e-3, atol: 1e-5 },
  }),
];
