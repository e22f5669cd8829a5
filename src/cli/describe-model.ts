// A source model in figures: what goes in and out, its operators, its weights.

import type { SourceGraph, SourceModel, SourceNode, SourceType, SourceValue } from '../frontend/source.js';
import { DTYPE_INFO } from '../support/dtype.js';
import { sizeOf } from '../support/tensor.js';

export interface ValueFacts {
  readonly name: string;
  readonly type: string;
}

export interface ModelFacts {
  readonly file: string;
  readonly format: string;
  readonly producer: string;
  readonly opsets: Readonly<Record<string, number>>;
  readonly inputs: readonly ValueFacts[];
  readonly outputs: readonly ValueFacts[];
  readonly signatures: readonly string[];
  /** Open sizes, as --dim names them. */
  readonly symbols: readonly string[];
  readonly nodes: number;
  /** By operator, subgraphs and inlined functions included; most frequent first. */
  readonly ops: readonly { readonly op: string; readonly domain: string; readonly count: number }[];
  readonly parameters: number;
  readonly weights: readonly {
    readonly dtype: string;
    readonly tensors: number;
    readonly elements: number;
    readonly bytes: number;
  }[];
}

export function describeModel(model: SourceModel): ModelFacts {
  const graphs = allGraphs(model.graphs);
  const nodes = graphs.flatMap((g) => g.nodes);
  const weights = countWeights(graphs);
  const main = model.graphs[0];
  const inputs = (main?.inputs ?? []).filter((v) => !main?.initializers.has(v.name) && !isVariable(main, v));
  return {
    file: model.file,
    format: model.format,
    producer: model.producer,
    opsets: model.opsets,
    inputs: inputs.map(describeValue),
    outputs: (main?.outputs ?? []).map(describeValue),
    signatures: model.signatures.map((s) => s.key),
    symbols: [...new Set(inputs.flatMap(openSizes))],
    nodes: nodes.length,
    ops: countOps(nodes),
    parameters: weights.reduce((n, w) => n + w.elements, 0),
    weights,
  };
}

const isVariable = (graph: SourceGraph | undefined, v: SourceValue): boolean =>
  v.variable === true || graph?.values.get(v.name)?.variable === true;

const nameOf = (v: SourceValue): string => v.label ?? v.name;

const describeValue = (v: SourceValue): ValueFacts => ({ name: nameOf(v), type: showType(v.type, nameOf(v)) });

/** `f32[batch, 3]`; sizes without a name are shown as --dim calls them. */
export function showType(t: SourceType, name = '?'): string {
  if (t.kind === 'unknown') return 'unknown';
  if (t.kind === 'map') return `map(${t.key}, ${showType(t.value)})`;
  if (t.kind !== 'tensor') return `${t.kind}(${showType(t.element)})`;
  return `${t.dtype}[${t.shape?.map((d, k) => d ?? `${name}_${k}`).join(', ') ?? '…'}]`;
}

function openSizes(v: SourceValue): readonly string[] {
  if (v.type.kind === 'map') return [`${nameOf(v)}_count`];
  if (v.type.kind !== 'tensor') return [];
  return (v.type.shape ?? []).flatMap((d, k) => (typeof d === 'number' ? [] : [d ?? `${nameOf(v)}_${k}`]));
}

/** Each graph once, those in attributes included. */
export function allGraphs(roots: readonly SourceGraph[]): readonly SourceGraph[] {
  const found = new Set<SourceGraph>();
  const visit = (g: SourceGraph): void => {
    if (found.has(g)) return;
    found.add(g);
    for (const node of g.nodes)
      for (const a of node.attrs.values()) {
        if (a.kind === 'graph') visit(a.value);
        else if (a.kind === 'graphs') a.value.forEach(visit);
      }
  };
  roots.forEach(visit);
  return [...found];
}

function countOps(nodes: readonly SourceNode[]): ModelFacts['ops'] {
  const counts = new Map<string, { op: string; domain: string; count: number }>();
  for (const { op, domain } of nodes) {
    const known = counts.get(`${domain}:${op}`);
    if (known) known.count++;
    else counts.set(`${domain}:${op}`, { op, domain, count: 1 });
  }
  return [...counts.values()].sort((a, b) => b.count - a.count || (a.op < b.op ? -1 : 1));
}

/** By element type. Bits are what the format needs: two int4 to a byte. */
function countWeights(graphs: readonly SourceGraph[]): ModelFacts['weights'] {
  const totals = new Map<string, { dtype: string; tensors: number; elements: number; bytes: number }>();
  for (const g of graphs)
    for (const t of g.initializers.values()) {
      const elements = sizeOf(t.shape);
      const total = totals.get(t.dtype) ?? { dtype: t.dtype, tensors: 0, elements: 0, bytes: 0 };
      total.tensors++;
      total.elements += elements;
      total.bytes += Math.ceil((elements * Math.max(DTYPE_INFO[t.dtype].bits, t.dtype === 'i1' ? 8 : 0)) / 8);
      totals.set(t.dtype, total);
    }
  return [...totals.values()].sort((a, b) => b.bytes - a.bytes);
}
