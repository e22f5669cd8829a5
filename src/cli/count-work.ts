// Multiply-accumulates of a module: one for every point of a sum of products. Symbolic sizes stay symbolic.

import { add, type Dim, dimKey, mul, product } from '../ir/dim.js';
import { children, type Expr, visitExpr } from '../ir/scalar.js';
import type { Module, Node, Region } from '../ir/tensor.js';

/** A number, or a formula where sizes are open. */
export type Count = number | string;

export const showDim = (d: Dim): Count => (typeof d === 'number' ? d : dimKey(d));

/** Of the first entry. Bodies of `while` count once, of `if` the first branch. */
export function countMacs(module: Module): Count {
  const body = module.entries[0]?.body;
  return body ? showDim(macsOf(body)) : 0;
}

const macsOf = (region: Region): Dim => region.nodes.reduce<Dim>((sum, n) => add(sum, nodeMacs(n)), 0);

/** Of a node itself, whatever its regions hold. */
export const ownMacs = (n: Node): Dim =>
  n.kind === 'generic' && n.reducer === 'add' && isProduct(n.body) ? product([...n.shape, ...n.reduce]) : 0;

function nodeMacs(n: Node): Dim {
  switch (n.kind) {
    case 'generic':
      return ownMacs(n);
    case 'scan':
      return mul(n.count, macsOf(n.body));
    case 'while':
      return macsOf(n.body);
    case 'if':
      return macsOf(n.then);
    default:
      return 0;
  }
}

/** A product of two things read from memory somewhere in the body. */
function isProduct(body: Expr): boolean {
  let found = false;
  visitExpr(body, (e) => {
    if (e.k === 'op' && e.op === 'mul' && children(e).every(readsMemory)) found = true;
  });
  return found;
}

function readsMemory(e: Expr): boolean {
  return e.k === 'load' || children(e).some(readsMemory);
}
