// Loop nests for generic, copy, concat and scatter: the plain schedule, one loop per axis in order, reductions
// innermost and in order. This is the meaning of the nodes; better schedules are other functions of the same node.

import { never } from '../../support/errors.js';
import { add, bounds, type Dim, product } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import type { BufferRef } from '../../ir/program.js';
import { cast, constant, dimExpr, type Expr, i32, substituteVars, variable, visitExpr } from '../../ir/scalar.js';
import { highest, lowest } from '../../ir/build-math.js';
import type { NodeOf, Reducer, Value } from '../../ir/tensor.js';
import type { DType } from '../../support/dtype.js';
import { accumulate } from '../schedule/accumulate.js';
import type { Blocks, For } from '../schedule/nest.js';
import { flatten, type KernelContext, lowerBody, type Output, type Ranges, readValue, slotOf } from './access.js';
import type { KernelTask } from './build.js';

const letVar = (name: string, value: Expr, mutable = false): Stmt => ({ s: 'let', var: name, value, mutable });

/** Serial loop over 0…size. */
const loop = (name: string, size: Dim, body: readonly Stmt[], parallel: boolean): For => ({
  s: 'for',
  var: name,
  lo: i32(0),
  hi: dimExpr(size),
  step: 1,
  mode: parallel ? 'parallel' : 'serial',
  body,
});

/** A loop over each size, named from `first` on. */
export function nest(
  prefix: string,
  sizes: readonly Dim[],
  body: readonly Stmt[],
  parallel: boolean,
  first = 0,
): readonly Stmt[] {
  return sizes.reduceRight<readonly Stmt[]>((inner, d, k) => [loop(`${prefix}${first + k}`, d, inner, parallel)], body);
}

const axes = (prefix: string, n: number): Expr[] =>
  Array.from({ length: n }, (_, k) => variable(`${prefix}${k}`, 'i32'));

export const rangesOf = (shape: readonly Dim[], reduce: readonly Dim[] = []): Ranges =>
  new Map([...shape.map((d, k): [string, Dim] => [`i${k}`, d]), ...reduce.map((d, k): [string, Dim] => [`r${k}`, d])]);

/** Terms up to which a floating sum is added one by one, and those of a block of a longer one. */
const SHORT_SUM = 256;
const BLOCK = 128;

/**
 * A reduction by `op` into the variable `acc`. A longer sum of floats is one of blocks: each holds
 * as many steps of an outer axis as keep it short, so its rounding is that of some hundred terms, not of all of them.
 */
export function reductionStmts(
  sizes: readonly Dim[],
  acc: string,
  op: Exclude<Reducer, `arg${string}`>,
  term: Expr,
): readonly Stmt[] {
  const loops = sizes.map((d, k) => loop(`r${k}`, d, [], false));
  const init = identity(op, term.dtype);
  const blocks = op === 'add' && SUMMED_IN_BLOCKS.has(term.dtype) ? blocksOf(sizes) : null;
  const sums = accumulate({ loops, blocks }, [{ name: acc, init }], (inside) => [
    { s: 'set', var: inside(acc), value: e.op(op, variable(inside(acc), term.dtype), term) },
  ]);
  return [letVar(acc, init, true), ...sums];
}

const SUMMED_IN_BLOCKS: ReadonlySet<DType> = new Set(['f32', 'f16', 'bf16']);

function blocksOf(sizes: readonly Dim[]): Blocks | null {
  const most = (from: number): number => bounds(product(sizes.slice(from)))[1];
  if (most(0) <= SHORT_SUM) return null;
  const axis = sizes.findIndex((_, k) => most(k + 1) <= BLOCK);
  return { var: `r${axis}`, steps: Math.floor(BLOCK / most(axis + 1)) };
}

/** The value a reduction starts from. */
export function identity(r: Reducer, t: DType): Expr {
  switch (r) {
    case 'add':
    case 'or':
      return constant(0, t);
    case 'mul':
    case 'and':
      return constant(1, t);
    case 'max':
    case 'argmax':
    case 'argmax_last':
      return lowest(t);
    case 'min':
    case 'argmin':
    case 'argmin_last':
      return highest(t);
    default:
      return never(r, 'reducer');
  }
}

/** Statements that compute one output element's reduction into variable `acc` and yield the result expression. */
export function reduceStmts(
  node: Pick<NodeOf<'generic'>, 'reduce' | 'reducer'>,
  body: Expr,
  outType: DType,
): { stmts: readonly Stmt[]; result: Expr } {
  const r = node.reducer as Reducer;
  const acc = variable('acc', body.dtype);
  if (!isArg(r)) return { stmts: reductionStmts(node.reduce, 'acc', r, body), result: acc };
  const start = letVar('acc', identity(r, body.dtype), true);
  const at = variable('at', 'i32');
  const x = variable('x', body.dtype);
  const better = BETTER[r](x, acc);
  const inner: Stmt[] = [
    letVar('x', body),
    {
      s: 'if',
      cond: better,
      then: [
        { s: 'set', var: 'acc', value: x },
        { s: 'set', var: 'at', value: variable('r0', 'i32') },
      ],
      else: [],
    },
  ];
  return {
    stmts: [start, letVar('at', i32(0), true), ...nest('r', node.reduce, inner, false)],
    result: cast(at, outType),
  };
}

const isArg = (r: Reducer): r is keyof typeof BETTER => r in BETTER;

const BETTER = {
  argmax: (x: Expr, acc: Expr) => e.gt(x, acc),
  argmin: (x: Expr, acc: Expr) => e.lt(x, acc),
  argmax_last: (x: Expr, acc: Expr) => e.ge(x, acc),
  argmin_last: (x: Expr, acc: Expr) => e.le(x, acc),
} as const;

/** The plain schedule of a generic node into `out`. */
export function lowerGeneric(c: KernelContext, node: NodeOf<'generic'>, out: Output): KernelTask {
  const type = (node.outputs[0] as Value).type;
  const ranges = rangesOf(node.shape, node.reduce);
  const body = lowerBody(c, node.body, node.inputs, ranges);
  const at = out.at(axes('i', node.shape.length));
  const post = node.post && lowerBody(c, node.post, node.inputs, ranges);
  const elementwise = node.reducer === null;
  const { stmts, result } = elementwise
    ? { stmts: [], result: body }
    : reduceStmts(node, body, node.post ? 'i64' : type.dtype);
  const value = post ? substituteVars(post, new Map([['acc', result]])) : result;
  const slot = c.write(out.ref, out);
  const store: Stmt = { s: 'store', buf: slot, index: at, value };
  return c.task(nest('i', node.shape, [...stmts, store], true), elementwise ? inPlaceInputs(c, node, slot) : undefined);
}

/** Memory that is read only at the element being written may be its memory too. Two inputs may be in one, as a value and a view of it. */
function inPlaceInputs(c: KernelContext, node: NodeOf<'generic'>, out: number): KernelTask['inPlace'] {
  if (c.apart(node.outputs[0] as Value)) return [];
  const own = new Map<number, boolean>();
  node.inputs.forEach((v, k) => {
    const slot = slotOf(c, v);
    own.set(slot, (own.get(slot) ?? true) && isIdentityRead(node, k) && !c.apart(v));
  });
  return [...own].flatMap(([slot, isOwn]) => (isOwn ? [[out, slot] as const] : []));
}

function isIdentityRead(node: NodeOf<'generic'>, operand: number): boolean {
  const v = node.inputs[operand] as Value;
  if (v.node?.kind === 'view' || v.type.shape.length !== node.shape.length) return false;
  if (v.type.dtype !== node.outputs[0]?.type.dtype) return false;
  let ok = true;
  visitExpr(node.body, (x) => {
    if (x.k === 'load' && x.src === operand)
      ok &&= x.index.every((i, k) => (i.k === 'var' && i.name === `i${k}`) || (i.k === 'const' && node.shape[k] === 1));
  });
  return ok;
}

/** out[…] = v[…] for a value of any kind. */
export function lowerCopy(c: KernelContext, v: Value, out: BufferRef): KernelTask {
  const { shape, dtype } = v.type;
  const index = axes('i', shape.length);
  const value = readValue(c, v, index, rangesOf(shape));
  const slot = c.write(out, { dtype, size: product(shape) });
  return c.task(nest('i', shape, [{ s: 'store', buf: slot, index: flatten(index, shape), value }], true));
}

/** One copy loop for each input that is not where it belongs already; null where all are. */
export function lowerConcat(
  c: KernelContext,
  node: NodeOf<'concat'>,
  out: Output,
  isThere: (slot: number) => boolean,
): KernelTask | null {
  let start: Dim = 0;
  const parts = node.inputs.flatMap((v, part) => {
    const before = start;
    start = add(start, v.type.shape[node.axis] as Dim);
    if (isThere(part)) return [];
    const prefix = `c${part}_`;
    const index = axes(prefix, v.type.shape.length);
    const shifted = index.map((x, k) => (k === node.axis ? e.add(x, dimExpr(before)) : x));
    const ranges: Ranges = new Map(v.type.shape.map((d, k): [string, Dim] => [`${prefix}${k}`, d]));
    return [{ prefix, v, shifted, value: readValue(c, v, index, ranges) }];
  });
  if (parts.length === 0 && node.inputs.length > 0) return null;
  const slot = c.write(out.ref, out);
  return c.task(
    parts.flatMap(({ prefix, v, shifted, value }) =>
      nest(prefix, v.type.shape, [{ s: 'store', buf: slot, index: out.at(shifted), value }], true),
    ),
  );
}

/** Copy, then the updates in order. */
export function lowerScatter(c: KernelContext, node: NodeOf<'scatter'>, out: BufferRef): KernelTask {
  const dest = node.inputs[0] as Value;
  const { shape, dtype } = dest.type;
  const ranges = rangesOf(node.space);
  const copyIndex = axes('c', shape.length);
  const copied = readValue(c, dest, copyIndex, new Map(shape.map((d, k): [string, Dim] => [`c${k}`, d])));
  const index = node.index.map((x) => lowerBody(c, x, node.inputs, ranges));
  const body = lowerBody(c, node.body, node.inputs, ranges);
  const slot = c.write(out, { dtype, size: product(shape) }, 'readwrite');
  const at = index.map((_, k) => variable(`t${k}`, 'i32'));
  const inside = at.reduce<Expr>(
    (g, x, k) => e.and(g, e.and(e.le(0, x), e.lt(x, dimExpr(shape[k] as Dim)))),
    constant(true, 'i1'),
  );
  const flat = flatten(at, shape);
  const old: Expr = { k: 'load', src: slot, index: [flat], dtype, lanes: 1 };
  const value = node.mode === 'set' ? body : e.op(node.mode, old, body);
  const update: Stmt[] = [
    ...index.map((x, k) => letVar(`t${k}`, x)),
    { s: 'if', cond: inside, then: [{ s: 'store', buf: slot, index: flat, value }], else: [] },
  ];
  return c.task([
    ...nest('c', shape, [{ s: 'store', buf: slot, index: flatten(copyIndex, shape), value: copied }], true),
    ...nest('i', node.space, update, false),
  ]);
}
