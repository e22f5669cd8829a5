// ONNX Loop and TFLite WHILE. In this order: a loop whose condition and trip count are known is a scan (unrolled where
// sequences or shapes change from step to step and the count is small); any other is a while with its own counter.

import type { Builder } from '../../ir/builder.js';
import { type Dim, max } from '../../ir/dim.js';
import type { Region, TensorType, Value } from '../../ir/tensor.js';
import type { SourceGraph } from '../source.js';
import { scalarCondition } from './control.js';
import { structureOf } from './list-value.js';
import { FOREVER, known, type Loop, probe, sameShape, scanBody, type Step, tripSymbol } from './loop-body.js';
import { type Growth, growths } from './loop-growth.js';
import { whileLoop } from './loop-while.js';
import { type AnyRecord, type NodeReader, op } from './record.js';

/** Longest loop written out step by step. */
const UNROLLED = 128;

export function lowerLoop(l: Loop): readonly Value[] {
  const { b, init } = l;
  const trips = known(b, l.trips);
  const start = known(b, l.cond);
  const bounded = l.trips !== undefined;
  if (init.some(isStructured)) return unroll(l);
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

/** Sequences, optionals and maps exist at compile time only. */
const isStructured = (v: Value): boolean => structureOf(v) !== 't';

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
  if (first)
    return first.map((_, k) =>
      b.concat(
        steps.map((s) => b.unsqueeze(s[k] as Value, [0])),
        0,
      ),
    );
  const items = l.init.some(isStructured)
    ? []
    : probe(
        l,
        l.init.map((v) => v.type),
        false,
      ).results.slice(1 + l.init.length);
  return items.map((v) => b.full([0, ...v.type.shape], 0, v.type.dtype));
}

/** A trip count as a size; `stacked` are the types of what each step adds a row of. */
function tripCount(l: Loop, stacked: readonly TensorType[]): Dim {
  const { b } = l;
  const trips = l.trips as Value;
  const n = known(b, trips);
  if (n !== undefined) return max(n, 0);
  const sym = stacked.length > 0 ? tripSymbol(l, stacked) : b.freshSym('trips', 0, FOREVER);
  return b.bindTo(sym, b.clamp(trips, 0, FOREVER));
}

function countedLoop(l: Loop, seen: Region): readonly Value[] {
  const { b, ctx, init } = l;
  const stacked = seen.results.slice(1 + init.length).map((v) => v.type);
  const count = tripCount(l, stacked);
  return b.scan(count, init, [], (step, carried) =>
    scanBody(ctx, carried, () => l.step(b.dim(step), b.scalar(true, 'i1'), carried).slice(1)),
  );
}

/** A scalar in the rank a body declares for it: both [] and [1] occur. */
function asDeclared(b: Builder, v: Value, graph: SourceGraph, input: number): Value {
  const type = graph.inputs[input]?.type;
  const rank = type?.kind === 'tensor' ? (type.shape?.length ?? 0) : 0;
  return b.reshape(
    v,
    Array.from({ length: rank }, () => 1),
  );
}

const subgraphs = (n: NodeReader) => ({ cond: n.int('cond_subgraph_index'), body: n.int('body_subgraph_index') });

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
      'Where nothing bounds the number of steps, stacked values get an assumed bound, checked when the program runs.',
      'Sequences carried through a loop need a trip count known at compile time, at most 128.',
      'A carried tensor may grow along an axis by a fixed amount a step.',
    ],
  }),
  op('while', {
    doc: 'Repeats a subgraph while another one says so.',
    inputs: ['init*'],
    tflite: {
      WHILE: subgraphs,
      STABLEHLO_WHILE: subgraphs,
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
