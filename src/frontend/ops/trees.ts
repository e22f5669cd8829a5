// Ensembles of decision trees as tables: every node of every tree in one numbering, leaves pointing to themselves. A
// walk is then the same step for all rows and trees at once, as often as the deepest tree is deep; no branches at all.
// Set-membership nodes become chains of equality tests. ml-trees.ts reads the operators into this form.

import type { Builder } from '../../ir/builder.js';
import { bounds, type Dim } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { CompileError } from '../../support/errors.js';

export const MODES = ['BRANCH_LEQ', 'BRANCH_LT', 'BRANCH_GTE', 'BRANCH_GT', 'BRANCH_EQ', 'BRANCH_NEQ'] as const;
export type Mode = (typeof MODES)[number];

export type TreeNode =
  | {
      readonly kind: 'branch';
      readonly mode: Mode;
      readonly feature: number;
      readonly value: number;
      readonly whenTrue: number;
      readonly whenFalse: number;
      /** NaN goes the true way. */
      readonly nanIsTrue: boolean;
    }
  /** Adds weight to targets: pairs of target and weight. */
  | { readonly kind: 'leaf'; readonly weights: readonly (readonly [number, number])[] };

export interface Ensemble {
  readonly nodes: readonly TreeNode[];
  readonly roots: readonly number[];
  readonly targets: number;
}

export type Aggregate = 'SUM' | 'AVERAGE' | 'MIN' | 'MAX';

/** Longest walk from a root to a leaf; E203 where nodes form a cycle or point nowhere. */
export function depthOf({ nodes, roots }: Ensemble): number {
  const known = new Map<number, number>();
  const open: { node: number; entered: boolean }[] = [];
  const active = new Set<number>();
  for (const root of roots) open.push({ node: root, entered: false });
  while (open.length > 0) {
    const top = open.at(-1) as { node: number; entered: boolean };
    const n = nodes[top.node];
    if (!n) throw new CompileError('E203', `tree node ${top.node} does not exist`);
    if (n.kind === 'leaf' || known.has(top.node)) {
      known.set(top.node, known.get(top.node) ?? 0);
      open.pop();
    } else if (!top.entered) {
      if (active.has(top.node)) throw new CompileError('E203', `tree node ${top.node} is its own ancestor`);
      top.entered = true;
      active.add(top.node);
      for (const child of [n.whenTrue, n.whenFalse]) if (!known.has(child)) open.push({ node: child, entered: false });
    } else {
      known.set(top.node, 1 + Math.max(known.get(n.whenTrue) ?? 0, known.get(n.whenFalse) ?? 0));
      active.delete(top.node);
      open.pop();
    }
  }
  return Math.max(0, ...roots.map((r) => known.get(r) ?? 0));
}

interface Tables {
  readonly mode: Value;
  readonly feature: Value;
  readonly value: Value;
  readonly whenTrue: Value;
  readonly whenFalse: Value;
  readonly nanIsTrue: Value;
}

function tablesOf(b: Builder, { nodes }: Ensemble): Tables {
  const ints = (f: (n: TreeNode, k: number) => number): Value =>
    b.constant({ dtype: 'i32', shape: [nodes.length], data: Int32Array.from(nodes, f) });
  const branch =
    (f: (n: Extract<TreeNode, { kind: 'branch' }>) => number) =>
    (n: TreeNode): number =>
      n.kind === 'branch' ? f(n) : 0;
  return {
    mode: ints(branch((n) => MODES.indexOf(n.mode))),
    feature: ints(branch((n) => n.feature)),
    nanIsTrue: ints(branch((n) => Number(n.nanIsTrue))),
    whenTrue: ints((n, k) => (n.kind === 'branch' ? n.whenTrue : k)),
    whenFalse: ints((n, k) => (n.kind === 'branch' ? n.whenFalse : k)),
    value: b.constant({
      dtype: 'f64',
      shape: [nodes.length],
      data: Float64Array.from(
        nodes,
        branch((n) => n.value),
      ),
    }),
  };
}

/** Whether a feature's value passes a node's test. Only tests that occur are spelled. */
function passes(x: Expr, value: Expr, mode: Expr, used: ReadonlySet<Mode>): Expr {
  const test: Readonly<Record<Mode, () => Expr>> = {
    BRANCH_LEQ: () => e.le(x, value),
    BRANCH_LT: () => e.lt(x, value),
    BRANCH_GTE: () => e.le(value, x),
    BRANCH_GT: () => e.lt(value, x),
    BRANCH_EQ: () => e.eq(x, value),
    BRANCH_NEQ: () => e.ne(x, value),
  };
  const [first, ...rest] = MODES.filter((m) => used.has(m));
  return rest.reduce(
    (other, m) => e.select(e.eq(mode, MODES.indexOf(m)), test[m](), other),
    test[first ?? 'BRANCH_LEQ'](),
  );
}

/** Whether rows are known to have every feature that is tested; E203 where they are known not to. */
function hasFeatures(features: Dim, { nodes }: Ensemble): boolean {
  const [least, most] = bounds(features);
  const tested = nodes.flatMap((n) => (n.kind === 'branch' ? [n.feature] : []));
  const missing = tested.find((f) => f < 0 || f >= most);
  if (missing !== undefined) throw new CompileError('E203', `feature ${missing} of ${most} is tested`);
  return tested.every((f) => f < least);
}

/** The leaf each row of x reaches in each tree, as node numbers [rows, trees]. */
function walk(b: Builder, x: Value, ensemble: Ensemble): Value {
  const t = tablesOf(b, ensemble);
  const known = hasFeatures(x.type.shape[1] as Dim, ensemble);
  const real = x.type.dtype === 'f64' ? 'f64' : 'f32';
  const split = b.cast(t.value, real);
  const used = new Set(ensemble.nodes.flatMap((n) => (n.kind === 'branch' ? [n.mode] : [])));
  const tracksNan = ensemble.nodes.some((n) => n.kind === 'branch' && n.nanIsTrue);
  const roots = b.constant({ dtype: 'i32', shape: [ensemble.roots.length], data: Int32Array.from(ensemble.roots) });
  const start = b.generic({
    shape: [x.type.shape[0] as Dim, ensemble.roots.length],
    body: ([, tree], _r, read) => read(roots, [tree as Expr]),
  });
  const step = (at: Value): Value =>
    b.generic({
      shape: at.type.shape,
      body: (i, _r, read) => {
        const node = read(at, i);
        const v = cast(read(x, [i[0] as Expr, read(t.feature, [node])], known ? {} : { pad: 0 }), real);
        const passed = passes(v, read(split, [node]), read(t.mode, [node]), used);
        const nan = e.and(e.op('is_nan', v), e.ne(read(t.nanIsTrue, [node]), 0));
        return e.select(tracksNan ? e.or(passed, nan) : passed, read(t.whenTrue, [node]), read(t.whenFalse, [node]));
      },
    });
  const depth = depthOf(ensemble);
  return depth === 0 ? start : (b.scan(depth, [start], [], (_step, [at]) => [step(at as Value)])[0] as Value);
}

/** Leaf weights as [nodes, targets]; `absent` where a leaf says nothing of a target. */
function weightTable(b: Builder, { nodes, targets }: Ensemble, absent: number): Value {
  const data = new Float64Array(nodes.length * targets).fill(absent);
  for (const [k, n] of nodes.entries()) {
    if (n.kind !== 'leaf') continue;
    for (const [target, weight] of n.weights) {
      const at = k * targets + target;
      if (target < 0 || target >= targets) throw new CompileError('E203', `leaf target ${target} of ${targets}`);
      data[at] = (data[at] === absent ? 0 : (data[at] as number)) + weight;
    }
  }
  return b.constant({ dtype: 'f64', shape: [nodes.length, targets], data });
}

/** Scores [rows, targets]: what the leaves reached add up to. */
export function treeScores(b: Builder, x: Value, ensemble: Ensemble, aggregate: Aggregate): Value {
  const leaves = walk(b, x, ensemble);
  const real = x.type.dtype === 'f64' ? 'f64' : 'f32';
  const absent = { SUM: 0, AVERAGE: 0, MIN: Number.POSITIVE_INFINITY, MAX: Number.NEGATIVE_INFINITY }[aggregate];
  const table = b.cast(weightTable(b, ensemble, absent), real);
  const scores = b.generic({
    shape: [x.type.shape[0] as Dim, ensemble.targets],
    reduce: [ensemble.roots.length],
    reducer: aggregate === 'MIN' ? 'min' : aggregate === 'MAX' ? 'max' : 'add',
    body: ([row, target], [tree], read) => read(table, [read(leaves, [row as Expr, tree as Expr]), target as Expr]),
  });
  if (aggregate === 'AVERAGE') return b.div(scores, ensemble.roots.length);
  return absent === 0 ? scores : b.map([scores], (s) => e.select(e.eq(s, absent), 0, s));
}
