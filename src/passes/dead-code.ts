// Removes nodes nobody reads. Kept: state writes, nodes that bind a symbol a live size mentions, checks
// of assumed sizes, and what they need.

import { dimSyms } from '../ir/dim.js';
import { kernelDims } from '../ir/kernel-walk.js';
import { visitExpr } from '../ir/scalar.js';
import { makeNode, type Module, type Node, type Region, regionsOf, type Value } from '../ir/tensor.js';

interface Live {
  readonly values: Set<Value>;
  readonly syms: Set<string>;
}

export function deadCode(m: Module): Module {
  const entries = m.entries.map((e) => {
    const live: Live = { values: new Set(), syms: new Set() };
    return { ...e, body: prune(e.body, live, true) };
  });
  return { ...m, entries };
}

/** One backward walk: a region's nodes are pruned given what is live after it. */
function prune(r: Region, live: Live, keepResults: boolean): Region {
  if (keepResults) for (const v of r.results) useValue(v, live);
  const kept: Node[] = [];
  for (let k = r.nodes.length - 1; k >= 0; k--) {
    const n = r.nodes[k] as Node;
    const needed =
      n.kind === 'state_write' ||
      n.outputs.some((v) => live.values.has(v)) ||
      n.binds.some((b) => b.sym.checked || live.syms.has(b.sym.name)) ||
      regionsOf(n).some(writesState);
    if (!needed) continue;
    kept.push(pruneNode(n, live));
  }
  return { ...r, nodes: kept.reverse() };
}

const writesState = (r: Region): boolean =>
  r.nodes.some((n) => n.kind === 'state_write' || regionsOf(n).some(writesState));

function useValue(v: Value, live: Live): void {
  live.values.add(v);
  for (const d of v.type.shape) for (const s of dimSyms(d).keys()) live.syms.add(s);
}

function pruneNode(n: Node, live: Live): Node {
  for (const v of n.inputs) useValue(v, live);
  for (const v of n.outputs) useValue(v, live);
  useSyms(n, live);
  switch (n.kind) {
    case 'if': {
      const [a, b] = [prune(n.then, live, true), prune(n.else, live, true)];
      return same(n, { ...n, then: a, else: b }, [a, b]);
    }
    case 'scan': {
      const body = prune(n.body, live, true);
      return same(n, { ...n, body }, [body]);
    }
    case 'while': {
      const body = prune(n.body, live, true);
      const test = prune(n.test, live, true);
      return same(n, { ...n, test, body }, [test, body]);
    }
    default:
      return n;
  }
}

/** Keeps the node's identity (and its output values) unless a region lost nodes; values stay, as outputs are shared. */
function same(n: Node, next: Node, regions: readonly Region[]): Node {
  const before = regionsOf(n).map((r) => r.nodes.length);
  if (regions.every((r, k) => r.nodes.length === before[k])) return n;
  const made = makeNode(next, n.inputs, [], n.origin, n.binds);
  const outputs = n.outputs.map((v) => Object.assign(v, { node: made }));
  return Object.assign(made, { outputs });
}

function useSyms(n: Node, live: Live): void {
  const dims = [];
  if (n.kind === 'dim') dims.push(...n.dims);
  if (n.kind === 'scan') dims.push(n.count);
  if (n.kind === 'kernel') dims.push(...kernelDims(n.kernel.body), ...n.kernel.params.map((p) => p.size));
  if (n.kind === 'generic') dims.push(...n.reduce);
  if (n.kind === 'scatter') dims.push(...n.space);
  const exprs =
    n.kind === 'generic'
      ? [n.body, ...(n.post ? [n.post] : [])]
      : n.kind === 'scatter'
        ? [...n.index, n.body]
        : n.kind === 'view' && n.map !== 'reshape'
          ? n.map
          : [];
  for (const x of exprs)
    visitExpr(x, (y) => {
      if (y.k === 'dim') dims.push(y.dim);
    });
  for (const d of dims) for (const s of dimSyms(d).keys()) live.syms.add(s);
}
