// Weights that a program reads once a run, as when one row of activations meets a matrix: what they cost is their bytes, so they
// stay as they are stored, scales beside them, with the axis a sum walks innermost. Schedules multiply them by way of integers
// (schedule/fixed-point.ts) and ask for no other layout.

import { isConst } from '../ir/dim.js';
import { mentions } from '../ir/affine.js';
import { children, type Expr, type LoadExpr, visitExpr, factorsOf } from '../ir/scalar.js';
import type { Node, NodeOf, Value } from '../ir/tensor.js';
import { DTYPE_INFO, type DType, isInteger } from '../support/dtype.js';
import { sizeOf } from '../support/tensor.js';

/** Less is as well unpacked. */
const MIN_ELEMENTS = 1 << 14;
/** Shorter sums, and fewer of them, are not worth a schedule of their own. */
const MIN_AXIS = 64;
/** Scales of blocks are steady over whole vectors. */
const VECTORS = 16;

export const isByte = (t: DType): boolean => isInteger(t) && DTYPE_INFO[t].bytes === 1;

/** The axis of `weight` that `reader` sums over, if that is a sum of floats that reads each of its elements once; else null. */
function summedAxis(reader: Node, weight: Value): number | null {
  if (reader.kind !== 'generic' || reader.reducer !== 'add' || reader.body.dtype !== 'f32') return null;
  const sizes = [...reader.shape, ...reader.reduce];
  const shape = weight.type.shape;
  if (reader.reduce.length !== 1 || !sizes.every(isConst) || !shape.every(isConst)) return null;
  if (sizeOf(sizes as number[]) !== sizeOf(shape as number[]) || sizeOf(shape as number[]) < MIN_ELEMENTS) return null;
  const slots = reader.inputs.flatMap((v, k) => (v === weight ? [k] : []));
  const loads: LoadExpr[] = [];
  visitExpr(reader.body, (x) => {
    if (x.k === 'load' && slots.includes(x.src)) loads.push(x);
  });
  const [only] = loads;
  if (loads.length !== 1 || !only || only.guard || only.pad) return null;
  const wide = only.index.filter((x, k) => x.k === 'var' && (shape[k] as number) >= MIN_AXIS);
  const others = only.index.filter((x, k) => !wide.includes(x) && shape[k] !== 1);
  const axis = only.index.findIndex((x) => x.k === 'var' && x.name === 'r0');
  return wide.length === 2 && others.length === 0 && wide.includes(only.index[axis] as Expr) ? axis : null;
}

/** Whether unpacking a constant, which is what `node` does, is better left to its only reader. */
export function isStreamed(node: Node, readers: readonly (Node | null)[]): boolean {
  const [reader] = readers;
  const [weight] = node.outputs;
  if (node.kind !== 'generic' || node.reducer !== null || node.body.dtype !== 'f32') return false;
  if (readers.length !== 1 || !reader || !weight) return false;
  const axis = summedAxis(reader, weight);
  if (axis === null) return false;
  const stored = factorsOf(node.body).filter((x) => isStored(x, node));
  return stored.length === 1 && isSteady(node.body, `i${axis}`, weight.type.shape[axis] as number, node);
}

/** A float made of an element of the constant at the same position, less a zero point perhaps. */
function isStored(x: Expr, node: NodeOf<'generic'>): boolean {
  if (x.k !== 'cast') return false;
  const { arg } = x;
  const whole = arg.k === 'op' && arg.op === 'sub' ? (arg.args[0] as Expr) : arg;
  const load = whole.k === 'cast' ? whole.arg : whole;
  return load.k === 'load' && isWhole(load, node);
}

/** Whether `x` reads a constant of bytes at the position of what `node` makes. */
export const isWhole = (x: LoadExpr, node: NodeOf<'generic'>): boolean =>
  isByte((node.inputs[x.src] as Value).type.dtype) &&
  x.index.length === node.shape.length &&
  x.index.every((i, k) => i.k === 'var' && i.name === `i${k}`);

/** Everything but the stored elements is the same for whole vectors along the axis. */
function isSteady(x: Expr, axis: string, size: number, node: NodeOf<'generic'>): boolean {
  if (!mentions(x, axis) || (x.k === 'load' && isWhole(x, node))) return true;
  if (x.k === 'op' && x.op === 'div' && x.args[0]?.k === 'var') {
    const [, by] = x.args;
    const block = by?.k === 'const' ? Number(by.value) : 1;
    return block % VECTORS === 0 && block >= 2 * VECTORS && size % block === 0;
  }
  const parts = children(x);
  return parts.length > 0 && parts.every((y) => isSteady(y, axis, size, node));
}

/** The axis of a constant that belongs innermost, as a sum reads each of its elements once along it; null where it is not one. */
export function streamedAxis(node: NodeOf<'generic'>, slot: number): number | null {
  const weight = node.inputs[slot] as Value;
  return isByte(weight.type.dtype) && hasFloatOf(node.body, slot) ? summedAxis(node, weight) : null;
}

/** Whether the sum is of floats made of these elements, and not of integers. */
function hasFloatOf(body: Expr, slot: number): boolean {
  let found = false;
  visitExpr(body, (x) => {
    if (x.k !== 'cast' || x.dtype !== 'f32') return;
    visitExpr(x.arg, (y) => {
      if (y.k === 'load' && y.src === slot) found = true;
    });
  });
  return found;
}
