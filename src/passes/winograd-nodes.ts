// The nodes that compute a contraction with fewer products (winograd-taps.ts has the arithmetic). For each of the sums:
// sums of taps; sums of inputs, with padding written out and every other output apart; and a contraction of the two. Then
// what makes outputs of the sums, with the node's own epilogue. One sum after the other, so that memory holds few at a time.

import { mentions } from '../ir/affine.js';
import { add, ceildiv, type Dim, mod, sub } from '../ir/dim.js';
import { e } from '../ir/expr.js';
import type { Rewriter } from '../ir/rewrite.js';
import { constant, type Expr, exprKey, i32, load, rewriteExpr, substituteVars, variable } from '../ir/scalar.js';
import type { NodeOf, Value } from '../ir/tensor.js';
import { dropUnused } from './fuse-draft.js';
import { emitPermuted } from './pack-constants.js';
import { span } from './pad-operands.js';
import type { Site } from './winograd-site.js';
import { chainsOf, LEAST, type Plan, type Sum, sumsOf } from './winograd-taps.js';

type Generic = NodeOf<'generic'>;

/** Axes of the operand as the sums of inputs have them: how long, and where they begin. */
export interface Extent {
  readonly size: Dim;
  readonly from: number;
}

/** Null where it cannot be said how far an operand with padding is read. */
export function extentsOf(n: Generic, { read, walked }: Site): readonly Extent[] | null {
  const { shape } = (n.inputs[read.src] as Value).type;
  const all = read.index.map((x, k): Extent | null => {
    if (k === walked) return { size: 0, from: 0 };
    const s = span(x, n);
    if (s) return { size: add(sub(s.hi, s.lo), 1), from: s.lo };
    return read.pad ? null : { size: shape[k] as Dim, from: 0 };
  });
  return all.every((x) => x !== null) ? all : null;
}

/** How the filter may lie in memory. */
export interface Layout {
  /** Nobody else reads it. */
  readonly isOwn: boolean;
  /** Outputs next to each other: vectors may run along them. */
  readonly outputsLast: boolean;
}

export function emitNodes(
  n: Generic,
  site: Site,
  plan: Plan,
  extents: readonly Extent[],
  { isOwn, outputsLast }: Layout,
  w: Rewriter,
): readonly Value[] {
  const sums = new Map<Sum, Value>();
  const given = n.inputs[site.filter.src] as Value;
  const mayMove = isOwn && given.node?.kind === 'const';
  const axes = filterAxes(site, mayMove && outputsLast);
  const filter = mayMove ? tapsFirst(given, axes, w) : { value: given, order: [...given.type.shape.keys()] };
  for (const s of sumsOf(plan)) {
    const taps = emitTaps(n, axes, filter, plan, s, w);
    const inputs = emitInputs(n, site, plan, s, extents, w);
    sums.set(s, emitProducts(n, site, chainsOf(plan, LEAST[s]), { inputs, taps, extents, axes }, w));
  }
  return emitOutputs(n, site, sums, w);
}

const axis = (k: number): Expr => variable(`i${k}`, 'i32');

function emit(n: Generic, w: Rewriter, shape: readonly Dim[], body: Expr, operands: readonly Value[]): Value {
  const d = dropUnused({ body, post: null, operands: [...operands] });
  const payload = { kind: 'generic', shape, reduce: [], reducer: null, body: d.body, post: null } as const;
  return w.emit(payload, d.operands, [{ dtype: 'f32', shape }], n.origin)[0] as Value;
}

/** `values[at]`, piece by linear piece. */
function byRuns(values: readonly number[], at: Expr): Expr {
  const from = (start: number): Expr => {
    const base = values[start] as number;
    const step = (values[start + 1] ?? base) - base;
    let end = start + 1;
    while (end < values.length && values[end] === base + step * (end - start)) end++;
    const here = e.add(e.mul(e.sub(at, start), step), base);
    return end < values.length ? e.select(e.lt(at, end), here, from(end)) : here;
  };
  return from(0);
}

/** The first, the second and the last tap of each of the first `terms` chains. */
function tapsAt(
  { chains, stride }: Plan,
  terms: number,
  at: Expr,
): Readonly<Record<'first' | 'second' | 'last', Expr>> {
  const by = (of: (c: Plan['chains'][number]) => number): Expr => byRuns(chains.slice(0, terms).map(of), at);
  return {
    first: by((c) => c.first),
    second: by((c) => c.first + (c.count > 1 ? stride : 0)),
    last: by((c) => c.first + (c.count - 1) * stride),
  };
}

/** What the chains from `limit` on lack. */
function upTo(limit: number, terms: number, at: Expr, long: () => Expr, short: Expr): Expr {
  if (limit === 0) return short;
  return limit < terms ? e.select(e.lt(at, limit), long(), short) : long();
}

interface Filter {
  readonly value: Value;
  /** The filter's own axes, in the value's order. */
  readonly order: readonly number[];
}

/** The taps' axis first, and the rest as sums have it: what those read is then contiguous. */
function tapsFirst(v: Value, { tap, others }: FilterAxes, w: Rewriter): Filter {
  const order = [tap, ...others];
  return { value: emitPermuted(v, (v.node as NodeOf<'const'>).data, order, w), order };
}

/** The sum's taps: the filter's axes of outputs, chains, and the rest of its axes as they are. */
function emitTaps(n: Generic, axes: FilterAxes, { value, order }: Filter, plan: Plan, s: Sum, w: Rewriter): Value {
  const terms = chainsOf(plan, LEAST[s]);
  const tap = (t: Expr): Expr =>
    load(
      0,
      order.map((k, at) => (k === axes.tap ? t : value.type.shape[at] === 1 ? i32(0) : axis(axes.to(k)))),
      'f32',
    );
  const at = axis(axes.chains);
  const { first, second, last } = tapsAt(plan, terms, at);
  const outer = (): Expr => e.add(tap(first), tap(last));
  const half = constant(0.5, 'f32');
  const bodies: Readonly<Record<Sum, () => Expr>> = {
    a: () => tap(first),
    b: () => upTo(chainsOf(plan, 3), terms, at, () => e.mul(e.add(outer(), tap(second)), half), outer()),
    c: () => e.mul(e.sub(outer(), tap(second)), half),
    d: () => tap(last),
  };
  const shape = order.map((_, k) => value.type.shape[order.indexOf(k)] as Dim);
  return emit(n, w, axes.place(shape, terms), bodies[s](), [value]);
}

type FilterAxes = ReturnType<typeof filterAxes>;

/**
 * Chains stand where the reduction begins, the taps' own axis goes: a sum then walks memory in order. With
 * `outputsLast` the innermost axis of outputs is the last.
 */
function filterAxes({ filter, taps }: Site, outputsLast: boolean) {
  const isReduced = (x: Expr | undefined): boolean => x?.k === 'var' && x.name.startsWith('r');
  const tap = filter.index.findIndex((x) => mentions(x, `r${taps}`));
  const given = [...filter.index.keys()].filter((k) => k !== tap);
  const inner = given.filter((k) => filter.index[k]?.k === 'var' && !isReduced(filter.index[k])).at(-1);
  const others = outputsLast && inner !== undefined ? [...given.filter((k) => k !== inner), inner] : given;
  const reduced = others.findIndex((k) => isReduced(filter.index[k]));
  const chains = reduced < 0 ? others.length : reduced;
  /** Something for each axis, in the new order. */
  const place = <T>(of: readonly T[], chain: T): T[] => {
    const own = others.map((k) => of[k] as T);
    return [...own.slice(0, chains), chain, ...own.slice(chains)];
  };
  const to = (k: number): number => others.indexOf(k) + (others.indexOf(k) < chains ? 0 : 1);
  return { tap, others, chains, place, to };
}

/** The sum's inputs: chains, and the operand's own axes, with pairs of outputs on the one walked. */
function emitInputs(
  n: Generic,
  { data, read, walked, along, taps }: Site,
  plan: Plan,
  s: Sum,
  extents: readonly Extent[],
  w: Rewriter,
): Value {
  const terms = chainsOf(plan, LEAST[s]);
  const [chain, pair] = [axis(0), axis(walked + 1)];
  const size = n.shape[along] as Dim;
  const places = new Map(read.index.map((x, k) => [exprKey(x), k]));
  // The last pair may have one output.
  const mayLeave = read.pad !== undefined || mod(size, 2) !== 0;
  const input = (second: 0 | 1, tap: Expr): Expr => {
    const here = new Map<string, Expr>([
      [`i${along}`, e.add(e.mul(pair, 2), second)],
      [`r${taps}`, tap],
    ]);
    const indexOf = (x: Expr): Expr => {
      const k = places.get(exprKey(x));
      if (k === undefined) return x;
      return k === walked ? substituteVars(x, here) : e.add(axis(k + 1), (extents[k] as Extent).from);
    };
    return rewriteExpr(data, (x) => {
      if (x.k !== 'load') return x;
      return { ...x, index: x.index.map(indexOf), pad: x.pad ?? (mayLeave ? constant(0, x.dtype) : undefined) };
    });
  };
  const { first, second, last } = tapsAt(plan, terms, chain);
  const of = (least: number, long: () => Expr, short: Expr): Expr =>
    upTo(chainsOf(plan, least), terms, chain, long, short);
  const one = { a: input(0, first), b: input(1, first), c: input(1, second), d: input(1, last) }[s];
  const bodies: Readonly<Record<Sum, () => Expr>> = {
    a: () => of(2, () => e.sub(one, input(0, last)), one),
    b: () => of(3, () => e.add(one, input(1, second)), one),
    c: () => e.sub(one, input(1, first)),
    d: () => of(2, () => e.sub(one, input(1, first)), one),
  };
  const own = extents.map((x, k) => (k === walked ? ceildiv(size, 2) : x.size));
  return emit(n, w, [terms, ...own], bodies[s](), n.inputs);
}

interface Factors {
  readonly inputs: Value;
  readonly taps: Value;
  readonly extents: readonly Extent[];
  readonly axes: FilterAxes;
}

/** The sum for every pair of outputs. */
function emitProducts(n: Generic, site: Site, terms: number, factors: Factors, w: Rewriter): Value {
  const { inputs, taps, extents, axes } = factors;
  const { read, walked, filter, along } = site;
  const moved = new Map(
    n.reduce.map((_, k): [string, Expr] => [`r${k}`, variable(`r${k < site.taps ? k + 1 : k}`, 'i32')]),
  );
  const chain = variable('r0', 'i32');
  const input = read.index.map((x, k) =>
    k === walked ? axis(along) : e.sub(substituteVars(x, moved), (extents[k] as Extent).from),
  );
  const tap = axes.place(
    filter.index.map((x) => substituteVars(x, moved)),
    chain,
  );
  const body = e.mul(load(0, [chain, ...input], 'f32'), load(1, tap, 'f32'));
  const shape = n.shape.map((d, k) => (k === along ? ceildiv(d, 2) : d));
  const reduce = [terms, ...n.reduce.filter((_, k) => k !== site.taps)];
  const payload = { kind: 'generic', shape, reduce, reducer: 'add', body, post: null } as const;
  return w.emit(payload, [inputs, taps], [{ dtype: 'f32', shape }], n.origin)[0] as Value;
}

/** a + b + c and d + b − c, in turn. */
function emitOutputs(n: Generic, { along }: Site, sums: ReadonlyMap<Sum, Value>, w: Rewriter): readonly Value[] {
  const operands = [...n.inputs, ...sums.values()];
  const isFirst = e.eq(e.and(axis(along), 1), 0);
  const index = n.shape.map((_, k) => (k === along ? e.shrS(axis(along), 1) : axis(k)));
  const read = (s: Sum): Expr => load(operands.indexOf(sums.get(s) as Value), index, 'f32');
  const c = sums.has('c') ? read('c') : null;
  const own = e.select(isFirst, c ? e.add(read('a'), c) : read('a'), c ? e.sub(read('d'), c) : read('d'));
  const sum = e.add(own, read('b'));
  const body = n.post ? substituteVars(n.post, new Map([['acc', sum]])) : sum;
  const d = dropUnused({ body, post: null, operands });
  return w.emit(
    { kind: 'generic', shape: n.shape, reduce: [], reducer: null, body: d.body, post: null },
    d.operands,
    n.outputs.map((v) => v.type),
    n.origin,
  );
}
