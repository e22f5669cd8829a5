// A value made element by element for one reduction that takes it apart along the same leading axes, as a depthwise
// convolution takes its padded input channel by channel, need never be whole: each part is made right before it is read, in
// scratch memory that stays near. Found by index maps alone; nothing is computed twice and no sum changes its order.

import { mentions } from '../../ir/affine.js';
import { bounds, type Dim, dimEq, product } from '../../ir/dim.js';
import type { Stmt } from '../../ir/kernel.js';
import { type Expr, load, type LoadExpr, substituteVars, variable, visitExpr } from '../../ir/scalar.js';
import type { Node, Region, Value } from '../../ir/tensor.js';
import { DTYPE_INFO } from '../../support/dtype.js';
import { throughViews } from '../through-views.js';
import { flatten, type KernelContext, lowerBody, type Output } from './access.js';
import type { KernelTask } from './build.js';
import { nest, rangesOf, reduceStmts } from './generic.js';
import { type Generic, isOwn, isPlain, readersOf, readsOf, sourceOf } from './row-groups.js';

/** `axes`: how many leading ones the loops around both walk. */
export interface NearCopy {
  readonly copy: Generic;
  readonly reader: Generic;
  readonly axes: number;
}

/** By reader, and every node that is made within its reader. */
export interface NearCopies {
  readonly groups: ReadonlyMap<Node, NearCopy>;
  readonly absorbed: ReadonlySet<Node>;
}

export function findNearCopies(region: Region, isTaken: (n: Node) => boolean): NearCopies {
  const groups = new Map<Node, NearCopy>();
  const absorbed = new Set<Node>();
  const readers = readersOf(region);
  for (const reader of region.nodes) {
    if (isTaken(reader) || absorbed.has(reader) || !isPlain(reader) || reader.reducer === null) continue;
    for (const v of reader.inputs) {
      const copy = sourceOf(v).producer;
      if (!copy || isTaken(copy) || !isPlain(copy) || copy.reducer !== null) continue;
      const axes = [...readers(copy)].every((r) => r === reader) ? sharedAxes(reader, copy) : 0;
      if (!isWorthIt(copy, axes)) continue;
      groups.set(reader, { copy, reader, axes });
      absorbed.add(copy);
      break;
    }
  }
  return { groups, absorbed };
}

/** A part that fits no near cache would be as far as the whole. */
const MAX_PART = 256 << 10;

function isWorthIt({ shape, outputs }: Generic, axes: number): boolean {
  const bytes = DTYPE_INFO[(outputs[0] as Value).type.dtype].bytes;
  const part = bounds(product(shape.slice(axes)))[1] * bytes;
  return bounds(product(shape.slice(0, axes)))[1] > 1 && part <= MAX_PART;
}

/**
 * Leading axes that the reader walks in step with what it reads. Only those that every read along the innermost axis
 * depends on: another one lets several outputs share what is read, which a schedule wants inside.
 */
function sharedAxes(reader: Generic, copy: Generic): number {
  const reads = readsOf(reader, copy);
  const innermost = `i${reader.shape.length - 1}`;
  const walking: LoadExpr[] = [];
  visitExpr(reader.body, (x) => {
    if (x.k === 'load' && x.index.some((i) => mentions(i, innermost))) walking.push(x);
  });
  const isShared = (d: Dim, k: number): boolean =>
    dimEq(d, reader.shape[k] as Dim) &&
    reads.every((index) => index !== null && isOwn(index[k] as Expr, k, reader.shape)) &&
    (d === 1 || walking.every((x) => x.index.some((i) => mentions(i, `i${k}`))));
  const most = Math.min(copy.shape.length, reader.shape.length) - 1;
  let axes = 0;
  while (axes < most && isShared(copy.shape[axes] as Dim, axes)) axes++;
  return axes;
}

export function lowerNearCopy(c: KernelContext, { copy, reader, axes }: NearCopy, out: Output): KernelTask {
  const { dtype } = (copy.outputs[0] as Value).type;
  const part = copy.shape.slice(axes);
  const slot = c.scratch('part', dtype, product(part));
  const lower = (body: Expr, node: Generic): Expr =>
    lowerBody(c, body, node.inputs, rangesOf(node.shape, node.reduce), (v, x) => {
      const { views, producer } = sourceOf(v);
      if (producer !== copy) return null;
      const index = throughViews(x.index, views) as readonly Expr[];
      return load(slot, [flatten(index.slice(axes), part)], x.dtype);
    });
  const made = lower(copy.post ?? copy.body, copy);
  const fill: Stmt = { s: 'store', buf: slot, index: flatten(axisVars(axes, part.length), part), value: made };
  const type = (reader.outputs[0] as Value).type;
  const { stmts, result } = reduceStmts(reader, lower(reader.body, reader), reader.post ? 'i64' : type.dtype);
  const value = reader.post ? substituteVars(lower(reader.post, reader), new Map([['acc', result]])) : result;
  const output = c.write(out.ref, out);
  const at = out.at(axisVars(0, reader.shape.length));
  const store: Stmt = { s: 'store', buf: output, index: at, value };
  const body = [
    ...nest('i', part, [fill], true, axes),
    ...nest('i', reader.shape.slice(axes), [...stmts, store], true, axes),
  ];
  return c.task(nest('i', reader.shape.slice(0, axes), body, true));
}

const axisVars = (from: number, n: number): Expr[] =>
  Array.from({ length: n }, (_, k) => variable(`i${from + k}`, 'i32'));
