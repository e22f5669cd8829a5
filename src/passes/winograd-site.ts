// Where fewer products apply: contractions whose one factor depends on an output's place and a tap by a sum of the two,
// place · stride + tap, as convolutions do, while the other, the filter, depends on the tap alone. Found by index maps.

import { coefficient, isZero, mentions } from '../ir/affine.js';
import { constant, type Expr, exprKey, type LoadExpr, rewriteExpr, visitExpr } from '../ir/scalar.js';
import type { NodeOf } from '../ir/tensor.js';

type Generic = NodeOf<'generic'>;

export interface Site {
  readonly data: Expr;
  /** The read of the data by whose index the others go, and which part of it walks outputs and taps. */
  readonly read: LoadExpr;
  readonly walked: number;
  readonly filter: LoadExpr;
  /** Axis of the output along which pairs are made, and of the reduction that walks the taps. */
  readonly along: number;
  readonly taps: number;
  /** Taps from an output to the next. */
  readonly stride: number;
}

/** Every site of a node: those first that leave its innermost axis to vectors as they are, or make them of strided reads. */
export function findSites(n: Generic): readonly Site[] {
  const { body } = n;
  if (body.k !== 'op' || body.op !== 'mul' || body.dtype !== 'f32') return [];
  const [a, b] = body.args as [Expr, Expr];
  const sites: Site[] = [];
  for (const [data, filter] of [
    [a, b],
    [b, a],
  ] as const) {
    if (filter.k !== 'load' || filter.guard || filter.pad || !filter.index.every(isPlain)) continue;
    for (const along of n.shape.keys())
      for (const taps of n.reduce.keys()) {
        const site = match(n, data, filter, along, taps);
        if (site) sites.push(site);
      }
  }
  const innermost = n.shape.length - 1;
  const rank = (s: Site): number => {
    const isApart = (strideOf(s.read, innermost) ?? 1) > 1;
    return Number((s.along === innermost) !== isApart);
  };
  return sites.sort((x, y) => rank(x) - rank(y));
}

const isPlain = (x: Expr): boolean => x.k === 'var' || x.k === 'const';

function match(n: Generic, data: Expr, filter: LoadExpr, along: number, taps: number): Site | null {
  const [out, tap, inner] = [`i${along}`, `r${taps}`, `i${n.shape.length - 1}`];
  if (filter.index.some((x) => mentions(x, out) || mentions(x, inner))) return null;
  if (filter.index.filter((x) => mentions(x, tap)).length !== 1) return null;
  const axes = [...n.shape.map((_, k) => `i${k}`), ...n.reduce.map((_, k) => `r${k}`)];
  const isSteady = (x: Expr): boolean => !axes.some((name) => mentions(x, name));
  if (!isSteady(rewriteExpr(data, (x) => (x.k === 'load' ? constant(0, x.dtype) : x)))) return null;
  const loads: LoadExpr[] = [];
  visitExpr(data, (x) => {
    if (x.k === 'load') loads.push(x);
  });
  const read = loads.find((x) => x.index.some((i) => mentions(i, out)));
  if (!read || loads.some((x) => x.guard || (x.pad && !isPlain(x.pad)))) return null;
  const known = new Set(read.index.map(exprKey));
  if (!loads.every((x) => x.index.every((i) => isSteady(i) || known.has(exprKey(i))))) return null;
  const walking = read.index.filter((i) => mentions(i, out) || mentions(i, tap));
  const [index] = walking;
  if (walking.length !== 1 || !index || axes.some((x) => x !== out && x !== tap && mentions(index, x))) return null;
  const walked = read.index.indexOf(index);
  const [step, each] = [out, tap].map((name) => stepOf(coefficient(index, name)));
  if (!step || !each || step % each !== 0) return null;
  // Vectors run along the innermost axis, contiguous once pairs are apart or a stride is copied away.
  if (strideOf(read, n.shape.length - 1) === null) return null;
  return { data, read, walked, filter, along, taps, stride: step / each };
}

/** A positive constant, or 0. */
const stepOf = (c: Expr | null): number => (c?.k === 'const' && Number(c.value) > 0 ? Number(c.value) : 0);

/** Elements between what neighbours along the axis read, where they read along the innermost axis of the operand alone. */
function strideOf(read: LoadExpr, axis: number): number | null {
  const name = `i${axis}`;
  const steps = read.index.map((x) => coefficient(x, name));
  const last = stepOf(steps.at(-1) ?? null);
  return last > 0 && steps.slice(0, -1).every(isZero) ? last : null;
}
