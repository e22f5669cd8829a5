// Weights that are halves take two bytes: a constant of floats each of which is a value of f16, or of bf16, is held as their 16
// bits and widened where a sum reads it. It does not matter how the model wrote it, as half floats and a cast or as floats;
// what earlier passes scaled, or transformed for fewer products, is no half any more and stays as it is. Widening is exact.
// Where it pays is a matter of how often an element is widened (docs/decisions/0036).

import { widenHalf } from '../ir/halves.js';
import { readersOf, rewriteModule, visitNodes } from '../ir/rewrite.js';
import { type Expr, rewriteExpr } from '../ir/scalar.js';
import type { ConstData, Module, Value } from '../ir/tensor.js';
import { exactHalves, type Half } from '../support/exact-halves.js';
import { decodeFloats } from '../support/float.js';
import { sizeOf } from '../support/tensor.js';
import type { PassContext } from './pass.js';
import { type Use, usesOf } from './weight-use.js';

/** Less is as well left alone. */
const MIN_ELEMENTS = 1024;
/** Bytes, as floats, of all that one row reads, or any number. Less stays in caches, where arithmetic takes the time and widening is half
 *  of it; more is waited for, and half of it is half the wait. */
const FAR = 32 << 20;

interface Stored {
  readonly kind: Half;
  readonly data: ConstData;
}

export function storeHalves(m: Module, { vectors }: PassContext): Module {
  if (!vectors) return m;
  const found = findHalves(m, vectors.loadsHalves);
  if (found.size === 0) return m;
  return rewriteModule(m, {
    node(node, w, original) {
      if (node.kind === 'const') {
        const s = found.get(original.outputs[0] as Value);
        return s && w.emit({ kind: 'const', data: s.data }, [], [{ dtype: 'i16', shape: s.data.shape }], node.origin);
      }
      const halves = original.inputs.map((v) => found.get(v)?.kind);
      if (node.kind !== 'generic' || !halves.some(Boolean)) return undefined;
      const types = node.outputs.map((o) => o.type);
      return w.emit({ ...node, body: widenLoads(node.body, halves) }, node.inputs, types, node.origin, node.binds);
    },
  });
}

function widenLoads(body: Expr, halves: readonly (Half | undefined)[]): Expr {
  return rewriteExpr(body, (x) => {
    if (x.k === 'cast' && x.arg.dtype === x.dtype) return x.arg; // of what was a half by its type
    const kind = x.k === 'load' ? halves[x.src] : undefined;
    return kind && x.k === 'load' ? widenHalf(kind, { ...x, dtype: 'i16' }) : x;
  });
}

function findHalves(m: Module, loads: boolean): ReadonlyMap<Value, Stored> {
  const found = new Map<Value, Stored>();
  const near = new Map<Value, number>();
  const readers = readersOf(m);
  for (const entry of m.entries)
    visitNodes(entry.body, (n) => {
      if (n.kind !== 'const' || !isFloats(n.data)) return;
      const value = n.outputs[0] as Value;
      const uses = usesOf(value, readers);
      const stored =
        uses.length > 0 && !uses.includes('other') && isWorth(n.data, uses, loads) ? halvesOf(n.data) : null;
      if (stored) found.set(value, stored);
      if (stored && n.data.dtype === 'f32' && uses.some((u) => u === 'one' || u === 'open'))
        near.set(value, 4 * sizeOf(n.data.shape));
    });
  const isFar = [...near.values()].reduce((sum, bytes) => sum + bytes, 0) >= FAR;
  if (!isFar && !loads) for (const value of near.keys()) found.delete(value);
  return found;
}

/** What the model computes with as halves has two bytes anyway. `loads`: a load widens. */
function isWorth({ dtype, shape }: ConstData, uses: readonly Use[], loads: boolean): boolean {
  if (dtype !== 'f32') return true;
  return sizeOf(shape) >= MIN_ELEMENTS && !uses.includes('single') && (loads || !uses.includes('few'));
}

const isFloats = ({ dtype }: ConstData): boolean => dtype === 'f32' || dtype === 'f16' || dtype === 'bf16';

function halvesOf(data: ConstData): Stored | null {
  const { dtype, shape } = data;
  const values = data.read().data;
  const halves = exactHalves(
    dtype === 'f16' || dtype === 'bf16' ? decodeFloats(dtype, values as Uint16Array) : (values as Float32Array),
  );
  const tensor = halves && ({ dtype: 'i16', shape, data: halves.bits } as const);
  return tensor && { kind: halves.kind, data: { dtype: 'i16', shape, read: () => tensor } };
}
