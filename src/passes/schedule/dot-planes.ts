// Integer contractions whose columns walk the innermost axis of a value made at run time, as pixels of a convolution do where
// channels are planes. One loop of the reduction, the channels, is taken in groups: its planes are laid out once with their
// elements in turn, each plane otherwise as it is, so that every window is read from there in vectors and nothing is copied
// a tap at a time. Rows hold a group as a splat. What is found here is data; dot-windows.ts applies it.

import { coefficient, mentions } from '../../ir/affine.js';
import { e } from '../../ir/expr.js';
import type { Kernel } from '../../ir/kernel.js';
import { type Expr, i32, type LoadExpr, substituteVars, variable, visitExpr } from '../../ir/scalar.js';
import { simplifyExpr } from '../kernel/simplify-index.js';
import { type DotOperand, narrowestOf, readsOnly } from './dot.js';
import { constOf } from './loops.js';
import { type For, loadsOf, type Nest, type Reduction } from './nest.js';
import type { Constants } from './operands.js';
import type { DotTarget } from './target.js';
import { positions } from './window.js';

export interface PlaneSchedule {
  readonly columns: For;
  readonly rows: For | null;
  /** Loops around the planes: each position has its own. */
  readonly apart: readonly For[];
  /** Loops the planes ignore, and those that walk them. */
  readonly others: readonly For[];
  readonly walking: readonly For[];
  /** The reduction: groups of `along`, then the other loops. */
  readonly along: For;
  readonly steps: readonly For[];
  /** The row operand, and the planes'. */
  readonly x: DotOperand;
  readonly y: DotOperand;
  readonly group: number;
  readonly lanes: number;
  readonly planes: Planes;
  /** Whether rows are constants that depend on the nest's own loops alone. */
  readonly isConstant: boolean;
}

/** Where elements are: at `first` + `step` · `along` + `within`. */
export interface Planes {
  readonly source: LoadExpr;
  readonly step: number;
  /** Elements of a plane; planes that overlap are one. */
  readonly span: number;
  readonly overlap: boolean;
  /** Position in a plane, of all other loops inside `apart`. */
  readonly within: Expr;
  /** Elements there are from the first on. */
  readonly size: number;
}

/** Bytes of the planes, all groups. */
const MAX_PLANES = 1 << 23;
/** Uses of each element that pay for laying it out. */
const MIN_USES = 4;
/** Positions that are tried one by one where an index is no sum. */
const MAX_POSITIONS = 256;

export function choosePlanes(
  nest: Nest,
  r: Reduction,
  kernel: Kernel,
  constants: Constants,
  target: DotTarget,
): PlaneSchedule | null {
  const { term } = r;
  if (r.op !== 'add' || r.blocks || term.dtype !== 'i32' || term.k !== 'op' || term.op !== 'mul') return null;
  const columns = nest.loops[nest.loops.length - 1] as For;
  const [p, q] = term.args as [Expr, Expr];
  const [x, y] = mentions(p, columns.var) ? [q, p] : [p, q];
  if (mentions(x, columns.var) || !mentions(y, columns.var)) return null;
  if (constOf(coefficient(nest.store.index, columns.var) ?? i32(0)) !== 1) return null;
  if ([...nest.loops, ...r.loops].some((f) => constOf(f.hi) === null)) return null;
  const width = sizeOf(columns);
  const lanes = target.lanes.find((n) => n <= width && width * 2 > n);
  const [source, another] = loadsOf(y);
  if (!lanes || !source || another || source.guard || constants.has(source.src) || !isPlain(y)) return null;
  const own = new Set([...nest.loops, ...r.loops].map((f) => f.var));
  const xLoads = loadsOf(x);
  const isConstant = xLoads.every((l) => constants.has(l.src) && !l.guard) && readsOnly(x, own);
  const found = r.loops
    .filter((f) => sizeOf(f) > 1 && mentions(x, f.var) && mentions(y, f.var))
    .flatMap((along) => describe(nest, r, { columns, along, x, y, source, lanes, isConstant }, kernel, target) ?? []);
  return found.sort((a, b) => costOf(a) - costOf(b))[0] ?? null;
}

export const sizeOf = (f: For): number => constOf(f.hi) as number;

/** Products, and what laying out takes. */
function costOf(s: PlaneSchedule): number {
  const count = (loops: readonly For[]): number => loops.reduce((n, f) => n * sizeOf(f), 1);
  const products = count([...s.walking, ...s.others, ...(s.rows ? [s.rows] : []), s.columns, ...s.steps]);
  return products + FILL * blocksOf(s) * s.planes.span;
}

const FILL = 4;

/** Planes' groups that are laid out one behind the other. */
export const blocksOf = (s: Pick<PlaneSchedule, 'planes' | 'along' | 'group'>): number =>
  s.planes.overlap ? 1 : Math.ceil(sizeOf(s.along) / s.group);

interface Candidate {
  readonly columns: For;
  readonly along: For;
  readonly x: Expr;
  readonly y: Expr;
  readonly source: LoadExpr;
  readonly lanes: number;
  readonly isConstant: boolean;
}

function describe(nest: Nest, r: Reduction, c: Candidate, kernel: Kernel, target: DotTarget): PlaneSchedule | null {
  const { columns, along, source, y, x } = c;
  const others = nest.loops.filter((f) => f !== columns && !mentions(y, f.var));
  const rows = [...others].reverse().find((f) => sizeOf(f) > 1 && mentions(x, f.var)) ?? null;
  const walking = nest.loops.filter((f) => f !== columns && mentions(y, f.var));
  const form = narrowestOf(x, y, kernel, target);
  if (!form || source.pad) return null;
  const index = source.index[0] as Expr;
  const coefs = new Map(
    [...walking, columns, along].map((f) => [f, constOf(coefficient(index, f.var) ?? source)] as const),
  );
  if ([...coefs.values()].some((k) => k === null || k < 1) || coefs.get(columns) !== 1) return null;
  const left = r.loops.filter((f) => f !== along && mentions(y, f.var));
  const reach = reachOf(index, left);
  if (!reach) return null;
  const step = coefs.get(along) as number;
  const count = sizeOf(along);
  const apart: For[] = [];
  let inside = walking;
  const extent = (loops: readonly For[]): number =>
    loops.reduce((n, f) => n + (coefs.get(f) as number) * (sizeOf(f) - 1), reach.extent);
  for (const f of walking) {
    const rest = inside.filter((w) => w !== f);
    if ((coefs.get(f) as number) <= extent([...rest, columns, along])) continue;
    apart.push(f);
    inside = rest;
  }
  if (inside.some((f) => mentions(x, f.var))) return null;
  const plane = extent([...inside, columns]) + 1;
  const overlap = step < plane;
  const blocks = Math.ceil(count / form.group);
  const span = overlap ? plane + step * form.group * (blocks - 1) : plane;
  const size = plane + step * (count - 1);
  const steps: readonly For[] = [{ ...along, hi: i32(blocks) }, ...r.loops.filter((f) => f !== along)];
  const uses = [...(rows ? [rows] : []), ...steps.slice(1)].reduce((n, f) => n * sizeOf(f), 1);
  const bytes = (overlap ? 1 : blocks) * span * 4;
  if (
    bytes > MAX_PLANES ||
    uses * (rows ? 1 : 2) < MIN_USES ||
    (steps.length === 1 && (rows === null || !c.isConstant))
  )
    return null;
  const terms = [...inside, columns].map((f) => e.mul(coefs.get(f) as number, variable(f.var, 'i32')));
  const within = terms.reduce((a, b) => e.add(a, b), reach.value);
  const planes = { source, step, span, overlap, within, size };
  const isConstant = c.isConstant;
  return {
    columns,
    rows,
    apart,
    others: others.filter((f) => f !== rows),
    walking: inside,
    along,
    steps,
    ...form,
    lanes: c.lanes,
    planes,
    isConstant,
  };
}

/** How far loops of the reduction move an index, from 0 on: a sum, or whatever it is at each of few positions. */
function reachOf(index: Expr, loops: readonly For[]): { readonly value: Expr; readonly extent: number } | null {
  let value: Expr = i32(0);
  let extent = 0;
  const odd: For[] = [];
  for (const f of loops) {
    const c = constOf(coefficient(index, f.var) ?? index);
    if (c === null) odd.push(f);
    else if (c < 0) return null;
    else {
      value = e.add(value, e.mul(c, variable(f.var, 'i32')));
      extent += c * (sizeOf(f) - 1);
    }
  }
  if (odd.length === 0) return { value, extent };
  const at = (place: ReadonlyMap<string, Expr>): Expr => substituteVars(index, place);
  const zero = new Map(odd.map((f) => [f.var, i32(0)] as const));
  const size = odd.reduce((n, f) => n * sizeOf(f), 1);
  if (size > MAX_POSITIONS) return null;
  let most = 0;
  for (const place of positions(odd.map((f) => [f.var, sizeOf(f)]))) {
    const moved = at(new Map([...place].map(([name, n]) => [name, i32(n)])));
    const distance = constOf(simplifyExpr(e.sub(moved, at(zero))));
    if (distance === null || distance < 0) return null;
    most = Math.max(most, distance);
  }
  // What the other loops and names add is in both.
  const names = new Map<string, Expr>();
  visitExpr(index, (z) => {
    if (z.k === 'var' && !zero.has(z.name)) names.set(z.name, i32(0));
  });
  const alone = (x: Expr): Expr => substituteVars(x, names);
  return { value: e.add(value, simplifyExpr(e.sub(alone(index), alone(at(zero))))), extent: extent + most };
}

/** Loads and sums with constants: what is done to each element by itself. */
const isPlain = (y: Expr): boolean =>
  y.k === 'load' || y.k === 'const' || (y.k === 'op' && (y.op === 'add' || y.op === 'sub') && y.args.every(isPlain));
