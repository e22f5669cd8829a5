// One node of a source model: its record is found, decodes and lowers it. What goes wrong is noted in the context, so that
// the nodes that do not depend on it are still looked at.

import type { Builder } from '../ir/builder.js';
import { isConst } from '../ir/dim.js';
import type { Origin } from '../ir/program.js';
import type { Value } from '../ir/tensor.js';
import { DTYPE_INFO } from '../support/dtype.js';
import { CompileError, type ErrorPlace, type Problem } from '../support/errors.js';
import { learnBounds, wantSizes } from './assumed-sizes.js';
import type { ImportContext, NodeOutcome, Scope } from './import.js';
import { lowerNode } from './lower-node.js';
import { tensorFromNumbers } from './node-reader.js';
import type { SourceGraph, SourceNode, SourceType } from './source.js';

/** Its outputs get values in the scope: what its record makes of the inputs, or undefined and a problem told. */
export function importNode(
  node: SourceNode,
  inputs: readonly (Value | undefined)[],
  scope: Scope,
  context: ImportContext,
  prefix: readonly string[],
): void {
  const { graph, values: env } = scope;
  const { b, problems } = context;
  const origin: Origin = { op: node.op, node: node.name, index: node.index, path: [...prefix, ...node.path] };
  const at: ErrorPlace = {
    op: node.op,
    node: node.name || node.outputs.find(Boolean),
    operator: node.index,
    opset: node.version,
    file: context.model.file,
  };
  const record = context.options.records.find(context.model.format, node);
  const tell = (status: NodeOutcome['status'], found: readonly Problem[] = []): void =>
    context.options.onNode?.({ node, path: origin.path, record: record?.record, status, problems: found });
  const fail = (found: readonly Problem[]): void => {
    for (const o of node.outputs) if (o) env.set(o, undefined);
    problems.push(...found);
    tell(found.length > 0 ? 'failed' : 'skipped', found);
  };
  if (!record) {
    const message = `no record for operator ${node.domain}:${node.op}`;
    fail([{ code: 'E201', message, at, hint: 'Add a record for it with --plugin, or leave it out of the model' }]);
    return;
  }
  if (node.inputs.some((name, k) => name && !inputs[k])) {
    fail([]);
    return;
  }
  b.setOrigin(origin);
  try {
    const results = lowerNode({
      node,
      scope,
      inputs,
      record,
      context,
      prefix: [...prefix, node.name || `${node.op}_${node.index}`],
    });
    b.setOrigin(origin);
    node.outputs.forEach((name, k) => {
      if (!name) return;
      const v = results[k];
      if (!v) {
        env.set(name, undefined);
        return;
      }
      env.set(name, b.named(foldKnown(v, b), graph.values.get(name)?.label ?? name));
      learnBounds(v.type, declaredType(graph, name), context.learned);
    });
    tell('lowered');
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    // An integer input of the program that this node's sizes hang on becomes sizes, the next time round.
    for (const v of inputs) if (v && !b.values(v)) wantSizes(context, v);
    fail(error.problems.map((p) => ({ ...p, at: { ...at, ...p.at } })));
  }
}

const declaredType = (graph: SourceGraph, name: string): SourceType | undefined =>
  (graph.values.get(name) ?? graph.outputs.find((o) => o.name === name))?.type;

/** Small integer results whose contents are known become constants: shape chains end here. */
function foldKnown(v: Value, b: Builder): Value {
  if (!v.node || v.node.kind === 'const' || v.node.kind === 'dim' || DTYPE_INFO[v.type.dtype].kind === 'string')
    return v;
  const dims = b.values(v);
  if (!dims?.every(isConst)) return v;
  const t = tensorFromNumbers(v.type.dtype, v.type.shape as number[], dims as readonly number[]);
  return t ? b.constant(t) : v;
}
