// Views that are runs: their elements lie one after the other, in order, in what they are views of. A slice of leading
// rows is one; so is any slice whose axes in front have one element. A run needs no copy: it is its source from an offset on.

import { add, type Dim, dimEq, mul, product } from '../../ir/dim.js';
import type { Expr } from '../../ir/scalar.js';
import { sizeOp } from '../../ir/size-op.js';
import type { Value } from '../../ir/tensor.js';

/** Where in its source a re-indexing view lies, in elements; null where it is not one run of it. */
export function runStart(v: Value): Dim | null {
  const flat = v.type.dtype === 'string' ? null : flatIndex(v);
  const { shape } = v.type;
  const isRun = flat?.axes.every((step, k) => shape[k] === 1 || dimEq(step, product(shape.slice(k + 1))));
  return flat && isRun ? flat.constant : null;
}

/** Whether a re-indexing view's rows are runs of its source: as good for vectors as a copy. */
export function hasRunsForRows(v: Value): boolean {
  const flat = flatIndex(v);
  const steps = flat?.axes.filter((_, k) => v.type.shape[k] !== 1);
  return steps !== undefined && (steps.at(-1) ?? 1) === 1;
}

function flatIndex(v: Value): Affine | null {
  const n = v.node;
  if (n?.kind !== 'view' || n.map === 'reshape') return null;
  const source = (n.inputs[0] as Value).type.shape;
  return n.map.reduce<Affine | null>(
    (at, x, k) => {
      const next = affine(x, v.type.shape);
      return at && next && combine(scale(at, source[k] as Dim), next, 1);
    },
    { constant: 0, axes: v.type.shape.map(() => 0) },
  );
}

/** constant + Σ axes[k] · i[k]. */
interface Affine {
  readonly constant: Dim;
  readonly axes: readonly Dim[];
}

const scale = (a: Affine, by: Dim): Affine => ({ constant: mul(a.constant, by), axes: a.axes.map((x) => mul(x, by)) });

const combine = (a: Affine, b: Affine, sign: 1 | -1): Affine => ({
  constant: add(a.constant, mul(b.constant, sign)),
  axes: a.axes.map((x, k) => add(x, mul(b.axes[k] as Dim, sign))),
});

function affine(x: Expr, shape: readonly Dim[]): Affine | null {
  const still = (constant: Dim): Affine => ({ constant, axes: shape.map(() => 0) });
  if (x.k === 'const') return still(Number(x.value));
  if (x.k === 'dim') return still(x.dim);
  if (x.k === 'var') return { constant: 0, axes: shape.map((_, k) => (x.name === `i${k}` ? 1 : 0)) };
  if (x.k !== 'op') return null;
  const args = x.args.map((arg) => affine(arg, shape));
  if (!args.every((a) => a !== null)) return null;
  const [a, b] = args as [Affine, Affine | undefined];
  if (args.every((arg) => isStill(arg))) {
    const d = sizeOp(
      x.op,
      args.map((arg) => arg.constant),
    );
    return d === null ? null : still(d);
  }
  if (!b) return null;
  if (x.op === 'add') return combine(a, b, 1);
  if (x.op === 'sub') return combine(a, b, -1);
  if (x.op !== 'mul') return null;
  if (isStill(a)) return scale(b, a.constant);
  return isStill(b) ? scale(a, b.constant) : null;
}

const isStill = (a: Affine): boolean => a.axes.every((x) => x === 0);
