// The first half of a staged contraction's steps: a stretch of both factors is copied into workgroup memory, each element
// computed once for the tile. Neighbours in the group read what lies side by side in memory, four at a time where it does.

import { coefficient, isOne, mentions } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import type { Stmt } from '../../ir/kernel.js';
import { type Expr, i32, type LoadExpr, substituteVars, variable, vec } from '../../ir/scalar.js';
import type { Fresh } from './grid-rows.js';
import { GPU_VECTORS, isAligned, QUAD } from './grid-vector.js';
import { constOf, lanesAt } from './loops.js';
import { loadsOf, type Reduction } from './nest.js';
import { DEPTH, LANES, last, letOf, loop, named, placesOf, type Side, TILE, total } from './stage-parts.js';
import { SIMD_32 } from './target.js';
import { splat, vectorizeExpr } from './vectorize.js';

/** What is copied, and from where on. */
export interface Copied {
  readonly r: Reduction;
  readonly stage: { readonly rows: Side; readonly columns: Side };
  readonly fresh: Fresh;
  readonly first: { readonly row: string; readonly column: string; readonly step: string };
  readonly buffers: { readonly rows: number; readonly columns: number };
}

export function copyFactors(t: Copied): Stmt {
  const lane = t.fresh.name('lane');
  const { rows, columns } = t.stage;
  return loop(lane, LANES, 'local', [
    copyFactor(t, rows, t.first.row, t.buffers.rows, named(lane)),
    copyFactor(t, columns, t.first.column, t.buffers.columns, named(lane)),
  ]);
}

/** A factor's TILE places by DEPTH steps; neighbours in the group read what lies side by side in memory. */
function copyFactor(
  { r, fresh, first }: Pick<Copied, 'r' | 'fresh' | 'first'>,
  side: Side,
  start: string,
  buf: number,
  lane: Expr,
): Stmt {
  const n = fresh.name('n');
  const element = e.add(e.mul(named(n), LANES), lane);
  const vector = vectorCopy(r, side);
  if (vector) return copyVectors({ r, fresh, first }, side, start, buf, lane, vector);
  const alongSteps = !loadsOf(side.factor).some((x) => isOne(coefficient(x.index[0] as Expr, last(side.loops).var)));
  const [place, step] = alongSteps
    ? [e.div(element, DEPTH), e.rem(element, DEPTH)]
    : [e.rem(element, TILE), e.div(element, TILE)];
  const [p, s] = [fresh.name('place'), fresh.name('step')];
  const at = e.min(e.add(named(start), named(p)), e.sub(total(side.loops), 1));
  const k = e.min(e.add(named(first.step), named(s)), e.sub(total(r.loops), 1));
  const renamed = new Map<string, Expr>();
  const lets = [...placesOf(side.loops, at), ...placesOf(r.loops, k)].map(([name, value]) => {
    const own = fresh.name(name);
    renamed.set(name, named(own));
    return letOf(own, value);
  });
  return loop(n, (TILE * DEPTH) / LANES, 'serial', [
    letOf(p, place),
    letOf(s, step),
    ...lets,
    { s: 'store', buf, index: e.add(e.mul(named(s), TILE), named(p)), value: substituteVars(side.factor, renamed) },
  ]);
}

/** The loop along which a factor can be copied in whole vectors, among its places or the steps. */
function vectorCopy(r: Reduction, side: Side): 'places' | 'steps' | null {
  if (!SIMD_32.has(side.factor.dtype) || side.factor.dtype === 'i1') return null;
  for (const [kind, f] of [
    ['places', last(side.loops)],
    ['steps', last(r.loops)],
  ] as const) {
    const walks = loadsOf(side.factor).filter((x) => mentions(x.index[0] as Expr, f.var));
    const whole = (x: LoadExpr): boolean => {
      const index = x.index[0] as Expr;
      return isOne(coefficient(index, f.var)) && isAligned(index, f.var) && !(x.guard && mentions(x.guard, f.var));
    };
    const size = constOf(f.hi);
    if (size === null || size % QUAD !== 0 || walks.length === 0 || !walks.every(whole)) continue;
    if (vectorizeExpr(side.factor, lanesAt(f.var, i32(0), GPU_VECTORS))) return kind;
  }
  return null;
}

/** Four neighbours in memory at a time: four places of a step, or four steps of a place. */
function copyVectors(
  { r, fresh, first }: Pick<Copied, 'r' | 'fresh' | 'first'>,
  side: Side,
  start: string,
  buf: number,
  lane: Expr,
  along: 'places' | 'steps',
): Stmt {
  const n = fresh.name('n');
  const element = e.add(e.mul(named(n), LANES), lane);
  const width = (along === 'places' ? TILE : DEPTH) / QUAD;
  const [within, other] = [e.mul(e.rem(element, width), QUAD), e.div(element, width)];
  const [place, step] = along === 'places' ? [within, other] : [other, within];
  const [p, s] = [fresh.name('place'), fresh.name('step')];
  const ends = { places: along === 'places' ? QUAD : 1, steps: along === 'steps' ? QUAD : 1 };
  const at = e.min(e.add(named(start), named(p)), e.sub(total(side.loops), ends.places));
  const k = e.min(e.add(named(first.step), named(s)), e.sub(total(r.loops), ends.steps));
  const own = new Map<string, Expr>();
  const lets = [...placesOf(side.loops, at), ...placesOf(r.loops, k)].map(([name, value]) => {
    const mine = fresh.name(name);
    own.set(name, named(mine));
    return letOf(mine, value);
  });
  const axis = last(along === 'places' ? side.loops : r.loops).var;
  const base = own.get(axis) as Expr;
  own.delete(axis);
  const vector = vectorizeExpr(substituteVars(side.factor, own), lanesAt(axis, base, GPU_VECTORS)) as Expr;
  const value = splat(vector, QUAD);
  const target = e.add(e.mul(named(s), TILE), named(p));
  const read = fresh.name('read');
  const lanes = [0, 1, 2, 3].map(
    (q): Stmt => ({
      s: 'store',
      buf,
      index: e.add(target, q * TILE),
      value: vec('extract', [variable(read, value.dtype, QUAD)], value.dtype, 1, q),
    }),
  );
  const stores: readonly Stmt[] =
    along === 'places' ? [{ s: 'store', buf, index: target, value }] : [letOf(read, value), ...lanes];
  return loop(n, (TILE * DEPTH) / (LANES * QUAD), 'serial', [letOf(p, place), letOf(s, step), ...lets, ...stores]);
}
