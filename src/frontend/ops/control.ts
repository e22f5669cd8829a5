// Branches and calls. A condition known while importing leaves just its branch; else both become regions of an `if`,
// and outputs whose sizes differ get symbols there. Loops: loop.ts; ONNX Scan: scan.ts.

import type { Builder } from '../../ir/builder.js';
import type { Region, Value } from '../../ir/tensor.js';
import type { SourceGraph } from '../source.js';
import { rebuild, structureOf, tensorsIn } from './list-value.js';
import { type AnyRecord, type LowerContext, type NodeReader, op } from './record.js';

/** A condition as an i1 scalar, whatever its rank. */
export const scalarCondition = (b: Builder, cond: Value): Value => b.cast(b.reshape(cond, []), 'i1');

interface Branches {
  readonly yes: (ctx: LowerContext) => SourceGraph;
  readonly no: (ctx: LowerContext) => SourceGraph;
}

/** One branch of an if as a region of plain tensors, beside the values it stands for. */
function branch(b: Builder, ctx: LowerContext, graph: SourceGraph, args: readonly Value[]) {
  let values: readonly Value[] = [];
  const region: Region = b.region([], () => {
    values = ctx.importGraph(graph, args);
    return values.flatMap(tensorsIn);
  });
  return { region, values };
}

function lowerIf(b: Builder, ctx: LowerContext, cond: Value, args: readonly Value[], graphs: Branches): readonly Value[] {
  const known = b.values(cond)?.[0];
  if (typeof known === 'number') return ctx.importGraph(known ? graphs.yes(ctx) : graphs.no(ctx), args);
  const yes = branch(b, ctx, graphs.yes(ctx), args);
  const no = branch(b, ctx, graphs.no(ctx), args);
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

const onnxBranches = (n: NodeReader): Branches => ({
  yes: () => n.graph('then_branch'),
  no: () => n.graph('else_branch'),
});

const subgraph = (index: number) => (ctx: LowerContext): SourceGraph => ctx.subgraph(index);

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
    lower: ({ cond, args }, graphs, b, ctx) => lowerIf(b, ctx, cond, args, graphs),
    limits: ['Both branches must give tensors of equal rank and element type, and sequences of equal length.'],
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
