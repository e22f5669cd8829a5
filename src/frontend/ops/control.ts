// Branches and calls. A condition known while importing leaves just its branch; else both become regions of an `if`,
// and outputs whose sizes differ get symbols there. Loops: loop.ts; ONNX Scan: scan.ts.

import type { Builder } from '../../ir/builder.js';
import { type Dim, product, substituteDim } from '../../ir/dim.js';
import type { Region, Value } from '../../ir/tensor.js';
import { isFloat } from '../../support/dtype.js';
import { CompileError } from '../../support/errors.js';
import type { SourceGraph } from '../source.js';
import { valuesAtLargest } from './largest-sizes.js';
import { isList, isNothing, rebuild, structureOf, tensorsIn } from './list-value.js';
import { type AnyRecord, type LowerContext, type NodeReader, op } from './record.js';

/** A condition as an i1 scalar, whatever its rank. */
export const scalarCondition = (b: Builder, cond: Value): Value => b.cast(b.reshape(cond, []), 'i1');

interface Branches {
  readonly yes: (ctx: LowerContext) => SourceGraph;
  readonly no: (ctx: LowerContext) => SourceGraph;
}

interface Branch {
  readonly region: Region;
  /** What it gives, sequences included. */
  readonly values: readonly Value[];
}

/** An if, and what its branches are called with (TFLite; ONNX branches see outer names instead). */
interface Call {
  readonly b: Builder;
  readonly ctx: LowerContext;
  readonly args: readonly Value[];
}

/** A branch being tried. `flip`: conditions that ranks hang on are taken the other way than at the largest sizes. */
interface Trial {
  readonly flip: boolean;
  /** Such a condition was met. */
  decided: boolean;
}

const trials = new WeakMap<Builder, Trial>();

/** Builds one branch; the error where it cannot run at the sizes it gets. */
function tryBranch(call: Call, graph: SourceGraph, flip = false): Branch | CompileError {
  const { b, ctx, args } = call;
  const [trial, outer] = [{ flip, decided: false }, trials.get(b)];
  trials.set(b, trial);
  try {
    let values: readonly Value[] = [];
    const region = b.region([], () => {
      values = ctx.importGraph(graph, args);
      return values.flatMap(tensorsIn);
    });
    return { region, values };
  } catch (error) {
    if (!(error instanceof CompileError) || !isAboutShapes(error)) throw error;
    return trial.decided && !flip ? tryBranch(call, graph, true) : error;
  } finally {
    trials.set(b, outer ?? { flip: false, decided: false });
  }
}

/** Shapes do not fit, and nothing else is wrong but what follows from that (E206). */
const isAboutShapes = ({ problems }: CompileError): boolean =>
  problems.some((p) => p.code === 'E204') && problems.every((p) => p.code === 'E204' || p.code === 'E206');

/** Stands for a branch that cannot run at the model's sizes: where it would have failed, NaN or zero is the result. */
function impossible(b: Builder, other: Branch): Branch {
  const own = new Set(other.region.nodes.flatMap((n) => n.binds.map((x) => x.sym.name)));
  const fixed = (d: Dim): Dim => substituteDim(d, (s) => (own.has(s.name) ? 0 : undefined));
  const region = b.region([], () =>
    other.region.results.map(({ type: { dtype, shape } }) => b.full(shape.map(fixed), isFloat(dtype) ? NaN : 0, dtype)),
  );
  return { region, values: other.values };
}

function lowerIf(call: Call, cond: Value, graphs: Branches): readonly Value[] {
  const { b, ctx, args } = call;
  const known = b.values(cond)?.[0];
  if (typeof known === 'number') return ctx.importGraph(known ? graphs.yes(ctx) : graphs.no(ctx), args);
  const [first, second] = [tryBranch(call, graphs.yes(ctx)), tryBranch(call, graphs.no(ctx))];
  if (first instanceof CompileError && second instanceof CompileError) throw first;
  const [yes, no] = withEqualRanks(
    b,
    first instanceof CompileError ? impossible(b, second as Branch) : first,
    second instanceof CompileError ? impossible(b, first as Branch) : second,
  );
  if (yes.values.some((v, k) => !sameKind(v, no.values[k] as Value)))
    return ctx.importGraph(chosen(b, ctx, cond) ? graphs.yes(ctx) : graphs.no(ctx), args);
  yes.values.forEach((v, k) => {
    if (structureOf(v) !== structureOf(no.values[k] as Value))
      ctx.limit(
        `the branches give sequences of different lengths for output ${k}`,
        'Fix the condition, or make the lengths equal',
      );
  });
  const tensors = b.if(scalarCondition(b, cond), yes.region, no.region)[Symbol.iterator]();
  return yes.values.map((v) => rebuild(b, v, tensors));
}

/** A scalar in one branch and a single element of some rank in the other: both get that rank. */
function withEqualRanks(b: Builder, yes: Branch, no: Branch): readonly [Branch, Branch] {
  const alone = (v: Value): boolean => !isNothing(v) && !isList(v) && product(v.type.shape) === 1;
  const rank = (v: Value): number => v.type.shape.length;
  const raised = (one: Branch, other: Branch): Branch => {
    const raise = (v: Value, k: number): boolean => {
      const w = other.values[k] as Value;
      return alone(v) && alone(w) && rank(v) < rank(w);
    };
    if (!one.values.some(raise)) return one;
    let values: readonly Value[] = [];
    const added = b.region([], () => {
      values = one.values.map((v, k) => (raise(v, k) ? b.reshape(v, (other.values[k] as Value).type.shape) : v));
      return values.flatMap(tensorsIn);
    });
    return { region: { params: [], nodes: [...one.region.nodes, ...added.nodes], results: added.results }, values };
  };
  return [raised(yes, no), raised(no, yes)];
}

const sameKind = (v: Value, w: Value): boolean =>
  v.type.shape.length === w.type.shape.length && v.type.dtype === w.type.dtype;

/** Branches of different ranks leave no choice at run time: sizes alone must decide, at their largest. */
function chosen(b: Builder, ctx: LowerContext, cond: Value): boolean {
  const [value] = valuesAtLargest(b, cond) ?? [];
  const trial = trials.get(b);
  if (trial) trial.decided = true;
  if (typeof value === 'number') return (value !== 0) !== (trial?.flip ?? false);
  return ctx.limit(
    'the branches give different ranks or element types, and the condition depends on data',
    'Fix the condition, or the sizes it is computed from with --dim',
  );
}

const onnxBranches = (n: NodeReader): Branches => ({
  yes: () => n.graph('then_branch'),
  no: () => n.graph('else_branch'),
});

const subgraph =
  (index: number) =>
  (ctx: LowerContext): SourceGraph =>
    ctx.subgraph(index);

const call = (n: NodeReader, field: string) => ({ graph: subgraph(n.int(field)) });

export const records: readonly AnyRecord[] = [
  op('if', {
    doc: 'Runs one of two subgraphs.',
    inputs: ['cond', 'args*'],
    onnx: { 'If@1': onnxBranches },
    tflite: {
      IF: (n) => ({ yes: subgraph(n.int('then_subgraph_index')), no: subgraph(n.int('else_subgraph_index')) }),
    },
    quantized: 'raw',
    lower: ({ cond, args }, graphs, b, ctx) => lowerIf({ b, ctx, args }, cond, graphs),
    limits: [
      'A branch whose shapes do not fit at the given sizes gives NaN (integers: zero) if it is taken after all.',
      'Branches that give different ranks are decided while compiling, by what the condition is at the largest sizes.',
      'A scalar in one branch takes the rank of a single element in the other.',
      'Sequences must have the same length in both branches.',
    ],
  }),
  op('call', {
    doc: 'Runs a subgraph.',
    inputs: ['args*'],
    tflite: {
      CALL: (n) => call(n, 'subgraph'),
      STABLEHLO_COMPOSITE: (n) => call(n, 'decomposition_subgraph_index'),
    },
    quantized: 'raw',
    lower: ({ args }, { graph }, _b, ctx) => ctx.importGraph(graph(ctx), args),
  }),
];
