// Probabilities per class from scores of pairs of classes (Wu, Lin, Weng, Probability Estimates for Multi-class Classification
// by Pairwise Coupling, 2004, second method; LIBSVM's iteration): each pair's score becomes a probability, then class
// probabilities p minimise Σ over pairs of (r_ji·p_i − r_ij·p_j)², by Gauss-Seidel steps until every error is small.

import type { Builder } from '../../ir/builder.js';
import type { Dim } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { type Buf, buildKernel, type KernelBuilder } from '../../ir/kernel-builder.js';
import { type Expr, i32 } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { matrix } from './ml-scores.js';

const LEAST = 1e-7;

/** 1 / (1 + e^(a·s + b)) of each pair, away from 0 and 1. */
function pairProbabilities(b: Builder, scores: Value, a: readonly number[], c: readonly number[]): Value {
  const pairs = scores.type.shape[1] as number;
  const [slope, offset] = [matrix(b, a.slice(0, pairs), 1, pairs), matrix(b, c.slice(0, pairs), 1, pairs)];
  return b.map([scores, slope, offset], (s, m, o) =>
    e.clamp(e.sigmoid(e.neg(e.add(e.mul(s as Expr, m as Expr), o as Expr))), LEAST, 1 - LEAST),
  );
}

/** Sums f(0) + … + f(n−1). */
function total(k: KernelBuilder, n: number, f: (j: Expr) => Expr): Expr {
  const sum = k.mut(e.const(0, 'f32'), 'sum');
  k.for(0, n, (j) => k.set(sum, e.add(sum, f(j))));
  return sum;
}

/** Probabilities [rows, classes] from scores [rows, pairs]. */
export function coupledProbabilities(
  b: Builder,
  scores: Value,
  { probA, probB }: { readonly probA: readonly number[]; readonly probB: readonly number[] },
  classes: number,
): Value {
  const rows = scores.type.shape[0] as Dim;
  const [out] = buildKernel(b, 'couple', [pairProbabilities(b, scores, probA, probB)], (k) => {
    const [pairs] = k.inputs as [Buf];
    const p = k.output('f32', [rows, classes]);
    const r = k.scratch('r', 'f32', [classes, classes]);
    const q = k.scratch('q', 'f32', [classes, classes]);
    const qp = k.scratch('qp', 'f32', [classes]);
    k.forEach([rows], ([row]) => {
      const at = k.mut(i32(0), 'at');
      k.for(0, classes, (i) => {
        k.store(r, [i, i], 0);
        k.for(e.add(i, 1), classes, (j) => {
          const v = k.let(k.load(pairs, [row as Expr, at]), 'v');
          k.store(r, [i, j], v);
          k.store(r, [j, i], e.sub(1, v));
          k.set(at, e.add(at, 1));
        });
      });
      k.for(0, classes, (i) => {
        k.for(0, classes, (j) => k.store(q, [i, j], e.neg(e.mul(k.load(r, [j, i]), k.load(r, [i, j])))));
        k.store(
          q,
          [i, i],
          total(k, classes, (j) => e.mul(k.load(r, [j, i]), k.load(r, [j, i]))),
        );
        k.store(p, [row as Expr, i], 1 / classes);
      });
      k.for(0, Math.max(100, classes), () => step(k, p, q, qp, row as Expr, classes));
    });
  });
  return out as Value;
}

/** One round over the classes; leaves the loop around it where the errors are small. */
function step(k: KernelBuilder, p: Buf, q: Buf, qp: Buf, row: Expr, classes: number): void {
  k.for(0, classes, (i) =>
    k.store(
      qp,
      [i],
      total(k, classes, (j) => e.mul(k.load(q, [i, j]), k.load(p, [row, j]))),
    ),
  );
  const pqp = k.mut(
    total(k, classes, (j) => e.mul(k.load(p, [row, j]), k.load(qp, [j]))),
    'pqp',
  );
  const worst = k.mut(e.const(0, 'f32'), 'worst');
  k.for(0, classes, (i) => k.set(worst, e.max(worst, e.abs(e.sub(k.load(qp, [i]), pqp)))));
  k.if(e.lt(worst, 0.005 / classes), () => k.break());
  k.for(0, classes, (i) => {
    const own = k.let(k.load(q, [i, i]), 'own');
    const mine = k.let(k.load(qp, [i]), 'mine');
    const change = k.let(e.div(e.sub(pqp, mine), own), 'change');
    const scale = k.let(e.add(change, 1), 'scale');
    k.store(p, [row, i], e.add(k.load(p, [row, i]), change));
    const grown = e.add(pqp, e.mul(change, e.add(e.mul(change, own), e.mul(mine, 2))));
    k.set(pqp, e.div(grown, e.mul(scale, scale)));
    k.for(0, classes, (j) => {
      k.store(p, [row, j], e.div(k.load(p, [row, j]), scale));
      k.store(qp, [j], e.div(e.add(k.load(qp, [j]), e.mul(change, k.load(q, [i, j]))), scale));
    });
  });
}
