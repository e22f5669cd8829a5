// The structural invariants of a module: values are defined before use and in scope, operand slots exist, body
// types agree with output types, symbols are bound before a size mentions them. Returns the first violation.

import { dimKey, dimSyms, type Dim } from './dim.js';
import { type Expr, visitExpr } from './scalar.js';
import { type Module, type Node, type Region, regionsOf, type Value } from './tensor.js';

interface Scope {
  readonly values: Set<Value>;
  readonly syms: Set<string>;
}

export function verifyModule(m: Module): string | null {
  for (const entry of m.entries) {
    const syms = new Set<string>();
    for (const p of entry.body.params) for (const d of p.type.shape) for (const s of dimSyms(d).keys()) syms.add(s);
    if (entry.outputNames.length !== entry.body.results.length)
      return `entry ${entry.name}: output names do not match results`;
    const problem = verifyRegion(entry.body, { values: new Set(), syms });
    if (problem) return `entry ${entry.name}: ${problem}`;
  }
  return null;
}

function verifyRegion(r: Region, outer: Scope): string | null {
  const scope: Scope = { values: new Set(outer.values), syms: new Set(outer.syms) };
  for (const p of r.params) scope.values.add(p);
  for (const n of r.nodes) {
    const problem = verifyNode(n, scope);
    if (problem) return `${n.kind} from node "${n.origin.node}" (${n.origin.op}): ${problem}`;
    for (const v of n.outputs) scope.values.add(v);
    for (const b of n.binds) scope.syms.add(b.sym.name);
  }
  for (const v of r.results) if (!scope.values.has(v)) return `result ${v.name ?? v.id} is not defined`;
  return null;
}

function verifyNode(n: Node, scope: Scope): string | null {
  for (const [k, v] of n.inputs.entries()) {
    if (!scope.values.has(v))
      return `operand ${k} (${v.name ?? v.node?.origin.node ?? v.id}) is not defined before use`;
  }
  const mine = new Set([...scope.syms, ...n.binds.map((b) => b.sym.name)]);
  for (const v of n.outputs) {
    const missing = unbound(v.type.shape, mine);
    if (missing) return `size symbol ${missing} has no value here`;
  }
  for (const r of regionsOf(n)) {
    const inner: Scope = n.kind === 'scan' ? { ...scope, syms: new Set([...scope.syms, n.step.name]) } : scope;
    const problem = verifyRegion(r, inner);
    if (problem) return problem;
  }
  return verifyPayload(n);
}

function unbound(dims: readonly Dim[], syms: ReadonlySet<string>): string | null {
  for (const d of dims) for (const s of dimSyms(d).keys()) if (!syms.has(s)) return s;
  return null;
}

function verifyPayload(n: Node): string | null {
  const out = n.outputs[0];
  switch (n.kind) {
    case 'generic': {
      const operands = verifyLoads([n.body, ...(n.post ? [n.post] : [])], n.inputs);
      if (operands) return operands;
      if (n.post && n.post.dtype !== out?.type.dtype)
        return `epilogue gives ${n.post.dtype}, output is ${out?.type.dtype}`;
      if (!n.post && !n.reducer?.startsWith('arg') && n.body.dtype !== out?.type.dtype)
        return `body gives ${n.body.dtype}, output is ${out?.type.dtype}`;
      return n.shape.map(dimKey).join() === out?.type.shape.map(dimKey).join()
        ? null
        : 'shape differs from the output type';
    }
    case 'scatter':
      return verifyLoads([...n.index, n.body], n.inputs);
    case 'view':
      if (n.map !== 'reshape' && n.map.length !== n.inputs[0]?.type.shape.length)
        return 'view map does not fit its source';
      return n.inputs[0]?.type.dtype === out?.type.dtype ? null : 'a view keeps the element type';
    default:
      return null;
  }
}

function verifyLoads(exprs: readonly Expr[], inputs: readonly Value[]): string | null {
  let problem: string | null = null;
  for (const x of exprs)
    visitExpr(x, (y) => {
      if (y.k !== 'load') return;
      const v = inputs[y.src];
      if (!v) problem = `load of operand ${y.src}, which does not exist`;
      else if (v.type.shape.length !== y.index.length)
        problem = `load of operand ${y.src} with ${y.index.length} indices`;
      else if (v.type.dtype !== y.dtype) problem = `load of operand ${y.src} as ${y.dtype}, which is ${v.type.dtype}`;
    });
  return problem;
}
