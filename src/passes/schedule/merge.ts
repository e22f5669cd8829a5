// Loops that walk memory as one become one: a loop of one step disappears, and adjacent loops merge where every index
// moves in the outer one by the inner one's size times its own step. Longer loops fill vectors and tiles better.

import { coefficient, mentions } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import { mapExprs } from '../../ir/kernel-walk.js';
import { type Expr, exprKey, i32, rewriteExpr, substituteVars } from '../../ir/scalar.js';
import { constOf } from './loops.js';
import { type Blocks, type For, loadsOf, type Nest, type Reduction, type Store } from './nest.js';

export function mergeNest(nest: Nest): Nest {
  const parallel = mergeLoops(
    nest.loops,
    nest.reduction ? [nest.reduction.term, nest.store.value] : [nest.store.value],
    [nest.store.index],
  );
  const [store] = mapExprs([nest.store], (x) => substituteVars(x, parallel.gone)) as readonly [Store];
  const reduction = nest.reduction && mapReduction(nest.reduction, (x) => substituteVars(x, parallel.gone));
  return { loops: parallel.loops, store, reduction: reduction && mergeReduction(reduction) };
}

/** What is around the loop that is cut into blocks stays apart from it; it becomes one with the next where their sizes say how many steps a block then has. */
export function mergeReduction(r: Reduction): Reduction {
  const at = r.blocks ? r.loops.findIndex((f) => f.var === r.blocks?.var) : 0;
  const [around, rest] = [r.loops.slice(0, at), r.loops.slice(at)];
  const outside = mergeLoops(around, [r.term], []);
  const merged = mergeLoops(rest, [r.term], []);
  const within = r.blocks ? mergeBlocks(r.blocks, rest, merged, r.term) : { ...merged, blocks: null };
  const gone = new Map([...outside.gone, ...within.gone]);
  const loops = [...outside.loops, ...within.loops];
  return mapReduction({ ...r, loops, blocks: within.blocks }, (x) => substituteVars(x, gone));
}

function mergeBlocks(blocks: Blocks, loops: readonly For[], merged: Merged, term: Expr): Merged & { blocks: Blocks } {
  const first = (merged.loops[0] as For).var;
  const inside = loops.slice(1, 1 + loops.findIndex((f) => f.var === first)).map((f) => constOf(f.hi));
  if (inside.every((d) => d !== null)) {
    const steps = (inside as number[]).reduce((p, d) => p * d, blocks.steps);
    return { ...merged, blocks: { var: first, steps } };
  }
  const others = mergeLoops(loops.slice(1), [term], []);
  return { loops: [loops[0] as For, ...others.loops], gone: others.gone, blocks };
}

const mapReduction = (r: Reduction, f: (x: Expr) => Expr): Reduction => ({
  ...r,
  init: f(r.init),
  term: f(r.term),
  loops: r.loops.map((l) => ({ ...l, hi: f(l.hi) })),
});

interface Merged {
  readonly loops: readonly For[];
  /** Variables no loop runs any more: always 0. */
  readonly gone: ReadonlyMap<string, Expr>;
}

/** Merges what can be; of some, at least one stays. `values` hold loads, `indices` are themselves indices. */
function mergeLoops(loops: readonly For[], values: readonly Expr[], indices: readonly Expr[]): Merged {
  const gone = new Map<string, Expr>();
  const walked = [...indices, ...loadsOf(...values).flatMap((x) => [...x.index])];
  const others = values.map(withoutIndices);
  const free = (f: For): boolean => !others.some((x) => mentions(x, f.var));
  const kept: For[] = [];
  for (const f of loops) {
    const outer = kept[kept.length - 1];
    if (constOf(f.hi) === 1) gone.set(f.var, i32(0));
    else if (
      outer &&
      !mentions(f.hi, outer.var) &&
      free(outer) &&
      free(f) &&
      walked.every((x) => walksAsOne(x, outer, f))
    ) {
      gone.set(outer.var, i32(0));
      kept[kept.length - 1] = { ...f, hi: e.mul(outer.hi, f.hi) };
    } else kept.push(f);
  }
  if (kept.length === 0 && loops.length > 0) {
    const last = loops[loops.length - 1] as For;
    gone.delete(last.var);
    return { loops: [last], gone };
  }
  return { loops: kept, gone };
}

function walksAsOne(x: Expr, outer: For, inner: For): boolean {
  const [a, b] = [coefficient(x, outer.var), coefficient(x, inner.var)];
  return a !== null && b !== null && exprKey(a) === exprKey(e.mul(b, inner.hi));
}

/** The value with each load's index blanked: what else depends on the loops. */
const withoutIndices = (x: Expr): Expr => rewriteExpr(x, (y) => (y.k === 'load' ? { ...y, index: [i32(0)] } : y));
