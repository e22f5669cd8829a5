// JavaScript's cells of vectors, so that the interpreter runs what schedules make and can be asked what they mean.
// A vector is an array of its lanes; each operation is that of scalars, lane by lane.

import { PRIMITIVES, type PrimitiveOp } from '../../ir/scalar.js';
import type { DType } from '../../support/dtype.js';
import { InternalError } from '../../support/errors.js';
import type { CellLookup, ComputeType, Lang, NumberType, VectorCells } from '../lang.js';

type Scalars = Pick<Lang, 'cast' | 'bitcast'> & { readonly ops: CellLookup };

const NAMES = ['p', 'q', 'r'];

export function vectorCells(scalars: Scalars): VectorCells {
  const each = (cell: string, operands: number): string => {
    const names = NAMES.slice(0, operands).join(', ');
    const body = cell.replace(/\$(\d)/g, (_, k: string) => NAMES[Number(k)] as string);
    const args = Array.from({ length: operands }, (_, k) => `$${k}`).join(', ');
    return `@lanewise((${names}) => ${body}, ${args})`;
  };
  return {
    op: (op: PrimitiveOp, type: DType) => each(scalars.ops[op]?.[type] ?? '', PRIMITIVES[op]),
    cast: (from, to) => each(scalars.cast(from as ComputeType, to as ComputeType), 1),
    bitcast: (from, to) => each(scalars.bitcast(from as NumberType, to as NumberType), 1),
    select: () => each('$0 ? $1 : $2', 3),
    extremum: (op) => each(op === 'max' ? '$0 < $1 ? $1 : $0' : '$1 < $0 ? $1 : $0', 2),
    splat: (_type, lanes) => `Array(${lanes}).fill($0)`,
    repeat: (_type, group, lanes) => `Array(${lanes / group}).fill($0).flat()`,
    dot: () => {
      throw new InternalError('internal: the interpreter has no products of narrow lanes');
    },
    zip: (_type, lanes, half) => {
      const from = (half * lanes) / 2;
      return `@lanewise((p, q) => [p, q], $0, $1).slice(${from}, ${from + lanes / 2}).flat()`;
    },
    evens: () => '[...$0.filter((_, k) => k % 2 === 0), ...$1.filter((_, k) => k % 2 === 1)]',
    extract: (_type, _lanes, lane) => `$0[${lane}]`,
    iota: (_type, lanes) => `Array(${lanes}).fill($0).map((p, k) => p + k)`,
    load: (_from, _to, lanes, { gather, masked }) => {
      const at = gather ? '$1' : `Array(${lanes}).fill($1).map((p, k) => p + k)`;
      return masked ? `@lanewise((p, q, r) => q ? $0[p] : r, ${at}, $2, $3)` : `@lanewise((p) => $0[p], ${at})`;
    },
    store: () => '@storeLanes($0, $1, $2)',
  };
}

/** A function of scalars on vectors of as many lanes. */
export const lanewise = (f: (...lanes: unknown[]) => unknown, ...vectors: readonly unknown[][]): unknown[] =>
  (vectors[0] ?? []).map((_, k) => f(...vectors.map((v) => v[k])));

export function storeLanes(buffer: { [i: number]: unknown }, at: number, vector: readonly unknown[]): void {
  vector.forEach((x, k) => {
    buffer[at + k] = x;
  });
}
