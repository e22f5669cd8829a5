// ONNX Loop and TFLite WHILE. In this order: a loop whose condition and trip count are known is a scan (unrolled where
// sequences or shapes change from step to step and the count is small); any other is a while with its own counter.
// A carried tensor that changes its size lives in a buffer of its largest size with the size beside it. What a while
// stacks per step goes into a buffer of the largest trip count, narrowed to the real one afterwards.

import type { Builder } from '../../ir/builder.js';
import { add, bounds, type Dim, dimKey, dimSyms, max, mul, sub, substituteDim, symDim } from '../../ir/dim.js';
import { cast } from '../../ir/scalar.js';
import type { Region, TensorType, Value } from '../../ir/tensor.js';
import type { SourceGraph } from '../source.js';
import { scalarCondition } from './control.js';
import { isList } from './list-value.js';
import { type AnyRecord, type LowerContext, op } from './record.js';
import { declaredSize, most } from './runtime-sizes.js';

/** Longest loop written out step by step. */
const UNROLLED = 128;
/** Where nothing bounds a trip count that nothing is stacked for. */
const FOREVER = 2 ** 31 - 1;

/** One step: from the carried values to (continue?, carried…, stacked…). */
type Step = (step: Value, cond: Value, carried: readonly Value[]) => readonly Value[];

interface Loop {
  readonly b: Builder;
  readonly ctx: LowerContext;
  readonly step: Step;
  readonly init: readonly Value[];
  /** Condition before the first step, an i1 scalar. */
  readonly cond: Value;
  /** Largest number of steps, an i64 scalar. */
  readonly trips: Value | undefined;
}

const known = (b: Builder, v: Value | undefined): Dim | undefined => (v ? b.values(v)?.[0] : undefined);
const sameShape = (x: TensorType, y: TensorType): boolean =>
  x.shape.length === y.shape.length && x.shape.every((d, k) => dimKey(d) === dimKey(y.shape[k] as Dim));

/** Symbols a region's own nodes define. */
const ownSyms = (r: Region): ReadonlySet<string> => new Set(r.nodes.flatMap((n) => n.binds.map((x) => x.sym.name)));

/** Checks what a scan's body returns: state as it came, stacked slices of one size. */
export function scanBody(ctx: LowerContext, carried: readonly Value[], run: () => readonly Value[]): readonly Value[] {
  const first = ctx.builder.nodes.length;
  const outs = run();
  const own = new Set(ctx.builder.nodes.slice(first).flatMap((n) => n.binds.map((x) => x.sym.name)));
  outs.forEach((v, k) => {
    const before = carried[k];
    if (before && (!sameShape(v.type, before.type) || v.type.dtype !== before.type.dtype))
      ctx.limit(`carried value ${k} changes from ${typeText(before.type)} to ${typeText(v.type)} in a step`);
    checkFixed(ctx, v, own, k);
  });
  return outs;
}

const typeText = (t: TensorType): string => `${t.dtype}[${t.shape.map(dimKey).join(', ')}]`;

function checkFixed(ctx: LowerContext, v: Value, own: ReadonlySet<string>, k: number): void {
  if (v.type.shape.some((d) => [...dimSyms(d).keys()].some((s) => own.has(s))))
    ctx.limit(`output ${k} of the loop body has a size that differs from step to step`);
}

/** Runs the body once on parameters of the given types, for the types it gives. */
function probe(l: Loop, types: readonly TensorType[], constantCond: boolean): Region {
  const { b } = l;
  const counter: TensorType = { dtype: 'i64', shape: [] };
  const flag: TensorType = { dtype: 'i1', shape: [] };
  return b.region([counter, flag, ...types], ([step, cond, ...carried]) =>
    l.step(step as Value, constantCond ? b.scalar(true, 'i1') : (cond as Value), carried),
  );
}

export function lowerLoop(l: Loop): readonly Value[] {
  const { b, init } = l;
  const trips = known(b, l.trips);
  const start = known(b, l.cond);
  const bounded = l.trips !== undefined;
  if (init.some(isList)) return unroll(l);
  const types = init.map((v) => v.type);
  const always = start === 1 && bounded;
  let seen = probe(l, types, always);
  const forever = always && known(b, seen.results[0]) === 1;
  if (always && !forever) seen = probe(l, types, false);
  const stable = types.every((t, k) => sameShape(t, (seen.results[k + 1] as Value).type));
  if (!stable && typeof trips === 'number' && trips <= UNROLLED && forever) return unroll(l);
  if (stable && forever) return countedLoop(l, seen);
  return whileLoop(l, seen, stable ? types.map((): Growth => []) : growths(l, seen));
}

/** Step by step at compile time. */
function unroll(l: Loop): readonly Value[] {
  const { b, ctx } = l;
  const trips = l.trips ? known(b, l.trips) : UNROLLED + 1;
  if (typeof trips !== 'number')
    return ctx.limit(
      'a loop that carries sequences has a trip count that depends on data',
      'Fix the count it is computed from with --dim, or stack the results instead of inserting them into a sequence',
    );
  let state = l.init;
  let cond = l.cond;
  const stacked: (readonly Value[])[] = [];
  for (let k = 0; k < trips; k++) {
    const go = known(b, cond);
    if (go === 0) break;
    if (go === undefined || k >= UNROLLED)
      return ctx.limit(
        `a loop that carries sequences runs longer than ${UNROLLED} steps, or until a condition that depends on data`,
      );
    const out = l.step(b.scalar(k, 'i64'), cond, state);
    cond = out[0] as Value;
    state = out.slice(1, 1 + l.init.length);
    stacked.push(out.slice(1 + l.init.length));
  }
  return [...state, ...stackSteps(l, stacked)];
}

function stackSteps(l: Loop, steps: readonly (readonly Value[])[]): readonly Value[] {
  const { b } = l;
  const [first] = steps;
  if (first) return first.map((_, k) => b.concat(steps.map((s) => b.unsqueeze(s[k] as Value, [0])), 0));
  const items = l.init.some(isList) ? [] : probe(l, l.init.map((v) => v.type), false).results.slice(1 + l.init.length);
  return items.map((v) => b.full([0, ...v.type.shape], 0, v.type.dtype));
}

/** A trip count as a size. */
function tripCount(l: Loop, hi: number): Dim {
  const { b } = l;
  const trips = l.trips as Value;
  const n = known(b, trips);
  if (n !== undefined) return max(n, 0);
  return b.bindSym(b.clamp(trips, 0, FOREVER), 'trips', 0, hi);
}

/** The most steps the loop can take, for what is stacked; from the file's own word where nothing else says. */
function tripBound(l: Loop): number {
  const n = known(l.b, l.trips);
  const declared = declaredSize(l.ctx, l.init.length, 0);
  const hi = n === undefined ? declared : bounds(n)[1];
  if (hi === undefined || !Number.isFinite(hi))
    return l.ctx.limit(
      'a loop stacks a value per step, and nothing bounds the number of steps',
      'Give the model a constant trip count, or fix the sizes it is computed from with --dim',
    );
  return Math.max(0, hi);
}

function countedLoop(l: Loop, seen: Region): readonly Value[] {
  const { b, ctx, init } = l;
  const stacks = seen.results.length > 1 + init.length;
  const count = tripCount(l, stacks ? tripBound(l) : FOREVER);
  return b.scan(count, init, [], (step, carried) =>
    scanBody(ctx, carried, () => l.step(b.dim(step), b.scalar(true, 'i1'), carried).slice(1)),
  );
}

/** Axes of a carried value that change, each with the largest size. */
type Growth = readonly { readonly axis: number; readonly hi: number }[];

/** Finds the axes that change, by running the body on sizes of their own; each may grow by a fixed amount a step. */
function growths(l: Loop, first: Region): readonly Growth[] {
  const { b, ctx, init } = l;
  const changing = init.map(() => new Map<number, Dim>());
  let seen = first;
  const collect = (): boolean => {
    let found = false;
    init.forEach((v, k) => {
      const out = (seen.results[k + 1] as Value).type;
      if (out.shape.length !== v.type.shape.length) ctx.limit(`carried value ${k} changes its rank`);
      v.type.shape.forEach((d, axis) => {
        const now = changing[k]?.get(axis) ?? d;
        if (changing[k]?.has(axis) || dimKey(now) === dimKey(out.shape[axis] as Dim)) return;
        changing[k]?.set(axis, symDim(b.freshSym('grown', bounds(d)[0], FOREVER)));
        found = true;
      });
    });
    return found;
  };
  while (collect()) {
    const types = init.map((v, k) => ({
      dtype: v.type.dtype,
      shape: v.type.shape.map((d, axis) => changing[k]?.get(axis) ?? d),
    }));
    seen = probe(l, types, false);
  }
  const axes = init.flatMap((v, k) =>
    [...(changing[k] as Map<number, Dim>)].map(([axis, before]): GrowingAxis => {
      const [start, after] = [v.type.shape[axis] as Dim, (seen.results[k + 1] as Value).type.shape[axis] as Dim];
      return { value: k, axis, start, before, after };
    }),
  );
  const his = settledBounds(axes) ?? axes.map((a) => steadyBound(l, a, axes));
  return init.map((_, k) => axes.flatMap((a, n) => (a.value === k ? [{ axis: a.axis, hi: his[n] as number }] : [])));
}

/** One changing size: what it starts from, and what a step makes of it. */
interface GrowingAxis {
  readonly value: number;
  readonly axis: number;
  readonly start: Dim;
  readonly before: Dim;
  readonly after: Dim;
}

const nameOfSym = (d: Dim): string => [...dimSyms(d).keys()][0] ?? '';

/** Bounds that another step does not exceed, if two rounds find such. */
function settledBounds(axes: readonly GrowingAxis[]): readonly number[] | null {
  let his = axes.map((a) => most(a.start));
  for (let round = 0; round < 3; round++) {
    const at = new Map(axes.map((a, n): [string, Dim] => [nameOfSym(a.before), sized(a.before, his[n] as number)]));
    const next = axes.map((a, n) => Math.max(his[n] as number, most(substituteDim(a.after, (s) => at.get(s.name)))));
    if (next.every((hi, n) => hi === his[n])) return his;
    his = next;
  }
  return null;
}

/** The symbol a size stands for, with an upper bound. */
function sized(d: Dim, hi: number): Dim {
  const [sym] = dimSyms(d).values();
  return sym ? symDim({ ...sym, lo: Math.min(sym.lo, hi), hi }) : d;
}

/** Bound of a size that grows by the same amount each step. */
function steadyBound(l: Loop, a: GrowingAxis, axes: readonly GrowingAxis[]): number {
  const growth = sub(a.after, a.before);
  const changing = new Set(axes.map((x) => nameOfSym(x.before)));
  if ([...dimSyms(growth).keys()].some((s) => changing.has(s)))
    return l.ctx.limit(`carried value ${a.value} grows without a known bound along axis ${a.axis}`);
  return most(max(a.start, add(a.start, mul(growth, tripBound(l)))));
}

/** How one carried value is held: whole, or in a buffer of its largest size with its changing sizes behind it. */
interface Holder {
  readonly pack: (v: Value) => readonly Value[];
  readonly unpack: (held: readonly Value[]) => Value;
  readonly count: number;
}

function holder(b: Builder, growth: Growth): Holder {
  return {
    count: 1 + growth.length,
    pack(v) {
      if (growth.length === 0) return [v];
      const sizes = growth.map(({ axis }) => v.type.shape[axis] as Dim);
      const room = v.type.shape.map((): Dim => 0);
      growth.forEach(({ axis, hi }, k) => {
        room[axis] = sub(hi, sizes[k] as Dim);
      });
      return [b.pad(v, [], room, 0), ...sizes.map((d) => b.dim(d))];
    },
    unpack: ([buffer, ...sizes]) =>
      growth.reduce<Value>(
        (v, { axis, hi }, k) => b.narrow(v, axis, 0, b.bindSym(sizes[k] as Value, 'size', 0, hi)),
        buffer as Value,
      ),
  };
}

function split<T>(list: readonly T[], counts: readonly number[]): readonly (readonly T[])[] {
  let at = 0;
  return counts.map((n) => {
    at += n;
    return list.slice(at - n, at);
  });
}

function whileLoop(l: Loop, seen: Region, growth: readonly Growth[]): readonly Value[] {
  const { b, ctx, init } = l;
  const holders = growth.map((g) => holder(b, g));
  const counts = holders.map((h) => h.count);
  const items = seen.results.slice(1 + init.length).map((v) => v.type);
  const cap = items.length > 0 ? tripBound(l) : 0;
  const own = ownSyms(seen);
  seen.results.slice(1 + init.length).forEach((v, k) => {
    checkFixed(ctx, v, own, k + init.length);
  });
  const held = init.flatMap((v, k) => (holders[k] as Holder).pack(v));
  const stacks = items.map((t) => b.full([cap, ...t.shape], 0, t.dtype));
  const start = [b.scalar(0, 'i64'), l.cond, ...held, ...stacks];
  const types = start.map((v) => v.type);
  const test = b.region(types, ([step, cond]) => [
    l.trips ? b.binary('and', cond as Value, b.lt(step as Value, l.trips)) : (cond as Value),
  ]);
  const body = b.region(types, ([step, cond, ...rest]) => {
    const carried = split(rest.slice(0, held.length), counts).map((h, k) => (holders[k] as Holder).unpack(h));
    const out = l.step(step as Value, cond as Value, carried);
    const next = out.slice(1, 1 + init.length).flatMap((v, k) => (holders[k] as Holder).pack(v));
    const rows = out.slice(1 + init.length).map((v, k) => putRow(b, rest[held.length + k] as Value, step as Value, v));
    return [b.add(step as Value, 1), out[0] as Value, ...next, ...rows];
  });
  const [steps, , ...after] = b.while(start, test, body);
  const carried = split(after.slice(0, held.length), counts).map((h, k) => (holders[k] as Holder).unpack(h));
  if (items.length === 0) return carried;
  const n = b.bindSym(steps as Value, 'trips', 0, cap);
  return [...carried, ...after.slice(held.length).map((v) => b.narrow(v, 0, 0, n))];
}

/** `stack` with row `at` replaced. */
const putRow = (b: Builder, stack: Value, at: Value, row: Value): Value =>
  b.scatter(stack, row.type.shape, 'set', (i, read) => ({
    index: [cast(read(at, []), 'i32'), ...i],
    value: read(row, i),
  }));

/** A scalar in the rank a body declares for it: both [] and [1] occur. */
function asDeclared(b: Builder, v: Value, graph: SourceGraph, input: number): Value {
  const type = graph.inputs[input]?.type;
  const rank = type?.kind === 'tensor' ? (type.shape?.length ?? 0) : 0;
  return b.reshape(v, Array.from({ length: rank }, () => 1));
}

export const records: readonly AnyRecord[] = [
  op('loop', {
    doc: 'Repeats a subgraph a number of times or while its condition holds, stacking what it gives out per step.',
    inputs: ['trips?', 'cond?', 'init*'],
    onnx: { 'Loop@1': (n) => ({ body: n.graph('body') }) },
    lower({ trips, cond, init }, { body }, b, ctx) {
      const step: Step = (at, go, carried) => {
        const outs = ctx.importGraph(body, [asDeclared(b, at, body, 0), asDeclared(b, go, body, 1), ...carried]);
        return [scalarCondition(b, outs[0] as Value), ...outs.slice(1)];
      };
      return lowerLoop({
        b,
        ctx,
        step,
        init,
        cond: cond ? scalarCondition(b, cond) : b.scalar(true, 'i1'),
        trips: trips && b.reshape(trips, []),
      });
    },
    limits: [
      'Values stacked per step need a bound on the number of steps: a constant trip count, or sizes with bounds.',
      'Sequences carried through a loop need a trip count known at compile time, at most 128.',
      'A carried tensor may grow along an axis by a fixed amount a step.',
    ],
  }),
  op('while', {
    doc: 'Repeats a subgraph while another one says so.',
    inputs: ['init*'],
    tflite: {
      WHILE: (n) => ({ cond: n.int('cond_subgraph_index'), body: n.int('body_subgraph_index') }),
    },
    quantized: 'raw',
    lower({ init }, a, b, ctx) {
      const test = (carried: readonly Value[]): Value =>
        scalarCondition(b, ctx.importGraph(ctx.subgraph(a.cond), carried)[0] as Value);
      const step: Step = (_at, _go, carried) => {
        const outs = ctx.importGraph(ctx.subgraph(a.body), carried);
        return [test(outs), ...outs];
      };
      return lowerLoop({ b, ctx, step, init, cond: test(init), trips: undefined });
    },
  }),
];
