// Weights in bytes that many rows of activations meet: they stay as they are stored, scales beside them, and become floats
// where the sum reads them, a panel of columns at a time for all rows (schedule/pack.ts). Found by index maps.

import { mentions } from '../ir/affine.js';
import { isConst } from '../ir/dim.js';
import type { Expr, LoadExpr } from '../ir/scalar.js';
import type { Node, NodeOf, Value } from '../ir/tensor.js';
import { sizeOf } from '../support/tensor.js';
import { loadsOf } from './schedule/nest.js';
import { isByte, isWhole } from './streamed-weights.js';
import { MIN_ROWS, MIN_WIDTH } from './weight-use.js';

type Generic = NodeOf<'generic'>;

/** Less is as well unpacked. */
const MIN_ELEMENTS = 1 << 14;
/** Scales and zero points are few beside weights. */
const MIN_SHARE = 8;

/** Whether unpacking a constant, which is what `node` does, is better left to its only reader. */
export function isShared(node: Node, readers: readonly (Node | null)[]): boolean {
  const [reader] = readers;
  return readers.length === 1 && reader?.kind === 'generic' && isSharedBy(node, reader);
}

export function isSharedBy(node: Node, reader: Generic): boolean {
  const [weight] = node.outputs;
  if (node.kind !== 'generic' || !weight || node.reducer !== null || node.body.dtype !== 'f32') return false;
  return isUnpacking(node) && isReadByColumns(reader, weight);
}

/** Floats made of one constant of bytes, element by element, and small ones. */
function isUnpacking(node: Generic): boolean {
  if (!node.shape.every(isConst) || !node.inputs.every(isStored)) return false;
  const elements = sizeOf(node.shape as number[]);
  const loads = loadsOf(node.body);
  const stored = loads.filter((x) => isByte((node.inputs[x.src] as Value).type.dtype) && isWhole(x, node));
  const isSmall = (x: LoadExpr): boolean =>
    sizeOf((node.inputs[x.src] as Value).type.shape as number[]) * MIN_SHARE <= elements;
  return elements >= MIN_ELEMENTS && stored.length === 1 && loads.every((x) => stored.includes(x) || isSmall(x));
}

/** A constant, a view of one, or what folds into one. */
function isStored(v: Value): boolean {
  const n = v.node;
  if (n?.kind === 'const') return true;
  if (n?.kind === 'view') return isStored(n.inputs[0] as Value);
  return n?.kind === 'generic' && n.reducer === null && isByte(v.type.dtype) && n.inputs.every(isStored);
}

/** A sum of floats, for many rows, in which the weight alone walks an axis that vectors can go along. */
function isReadByColumns(reader: Generic, weight: Value): boolean {
  if (reader.reducer !== 'add' || reader.body.dtype !== 'f32') return false;
  const loads = loadsOf(reader.body);
  const isMine = (x: LoadExpr): boolean => reader.inputs[x.src] === weight;
  const [mine, ...more] = loads.filter(isMine);
  if (!mine || more.length > 0 || !loads.every(isPlain)) return false;
  if (reader.post && loadsOf(reader.post).some(isMine)) return false;
  const others = loads.filter((x) => x !== mine);
  const isIn = (x: LoadExpr, k: number): boolean => x.index.some((i) => mentions(i, `i${k}`));
  const rows = reader.shape.reduce<number>((n, d, k) => n * (isIn(mine, k) ? 1 : isConst(d) ? d : MIN_ROWS), 1);
  const isColumn = reader.shape.some(
    (d, k) => isConst(d) && d >= MIN_WIDTH && isIn(mine, k) && !others.some((x) => isIn(x, k)),
  );
  const isInnermost = (x: LoadExpr): boolean => reader.shape.some((_, k) => mentions(x.index.at(-1) as Expr, `i${k}`));
  return rows >= MIN_ROWS && isColumn && !others.some(isInnermost);
}

const isPlain = (x: LoadExpr): boolean =>
  !x.guard && !x.pad && x.index.length > 0 && x.index.every((i) => i.k === 'var' || i.k === 'const');
