// Where do two runs of a model part? Compares what targets gave with what the interpreter gave, twice: the outputs of the
// program as it ships, and every named value of a program that keeps them all; names the first node that differs.

import type { SourceModel } from '../../frontend/source.js';
import { isFloat } from '../../support/dtype.js';
import { type Tensor, toNumbers } from '../../support/tensor.js';
import { compareTensors, type Tolerance } from './compare.js';

/** Values by name. */
export type Values = ReadonlyMap<string, Tensor>;

/** Which node makes a value. */
export interface Place {
  readonly node: string;
  readonly op: string;
  readonly index: number;
}

export interface Difference extends Place {
  readonly value: string;
  readonly difference: string;
}

export interface Findings {
  readonly agrees: boolean;
  /** Outputs of the program as it ships. */
  readonly outputs: readonly Difference[];
  readonly first: Difference | null;
  readonly compared: number;
}

/** What one way of running the model gave: its outputs, and all its values. */
export interface Runs {
  readonly whole: Values;
  readonly tapped: Values;
}

/** Which node makes each value of the main graph, in execution order. */
export function valueOrder(model: SourceModel): ReadonlyMap<string, Place> {
  const graph = model.graphs[0];
  const order = new Map<string, Place>();
  for (const node of graph?.nodes ?? [])
    for (const output of node.outputs)
      if (output)
        order.set(graph?.values.get(output)?.label ?? output, { node: node.name, op: node.op, index: node.index });
  return order;
}

export function compareRuns(got: Runs, want: Runs, order: ReadonlyMap<string, Place>, tolerance: Tolerance): Findings {
  const outputs = differences(got.whole, want.whole, order, tolerance);
  const [first = null] = differences(got.tapped, want.tapped, order, tolerance);
  return { agrees: outputs.length === 0 && first === null, outputs, first, compared: want.tapped.size };
}

/** In execution order. */
function differences(got: Values, want: Values, order: ReadonlyMap<string, Place>, given: Tolerance): Difference[] {
  const found = [...want].flatMap(([value, expected]): Difference[] => {
    const t = got.get(value);
    const tolerance = isFloat(expected.dtype)
      ? { rtol: given.rtol, atol: given.atol * Math.max(1, magnitude(expected)) }
      : { rtol: 0, atol: 0 };
    const difference = t ? compareTensors(t, expected, tolerance) : 'it is missing';
    const place = order.get(value) ?? { node: '', op: '', index: Number.MAX_SAFE_INTEGER };
    return difference === null ? [] : [{ value, ...place, difference }];
  });
  return found.sort((a, b) => a.index - b.index);
}

/** Sums that cancel lose digits in proportion to their terms, not to the result. */
const magnitude = (t: Tensor): number =>
  t.dtype === 'string'
    ? 0
    : toNumbers(t).reduce((most, v) => (Number.isFinite(v) ? Math.max(most, Math.abs(v)) : most), 0);

export function describeFindings(target: string, f: Findings): string {
  if (f.agrees) return `${target}: agrees with the interpreter on all ${f.compared} values`;
  const named = (d: Difference): string => `${d.op} "${d.node}" (operator ${d.index})`;
  const outputs = f.outputs.map((d) => `  output "${d.value}" of ${named(d)}: ${d.difference}`);
  const at = f.first
    ? `  first difference: ${named(f.first)}, value "${f.first.value}": ${f.first.difference}`
    : '  no difference where every value is kept: the passes between are at fault';
  return [`${target}: differs from the interpreter`, ...outputs, at].join('\n');
}
