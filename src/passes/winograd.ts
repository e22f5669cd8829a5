// Convolutions of three taps along an axis with fewer products: two neighbouring outputs come from four products instead
// of six, F(2, 3) of S. Winograd, "Arithmetic Complexity of Computations" (A. Lavin, S. Gray, arXiv:1509.09308). For
// inputs d0…d3 and taps g0…g2:
//   m0 = (d0 − d2)·g0                  m1 = (d1 + d2)·(g0 + g1 + g2)/2
//   m2 = (d2 − d1)·(g0 − g1 + g2)/2    m3 = (d1 − d3)·g2
//   y0 = m0 + m1 + m2                  y1 = m1 − m2 − m3
// The other axes of the sum stay as they are, so the products are a contraction like any other, over four times half the
// outputs; differences of inputs belong to its term. Rounds differently, so only in fast numerics.

import { coefficient, isOne, isZero, mentions } from '../ir/affine.js';
import { bounds, type Dim, floordiv, product } from '../ir/dim.js';
import { e } from '../ir/expr.js';
import { rewriteModule, type Rewriter } from '../ir/rewrite.js';
import {
  constant,
  type Expr,
  i32,
  type LoadExpr,
  load,
  rewriteExpr,
  substituteVars,
  variable,
  visitExpr,
} from '../ir/scalar.js';
import type { Module, NodeOf, Value } from '../ir/tensor.js';
import { dropUnused } from './fuse-draft.js';
import type { PassContext } from './pass.js';

const TAPS = 3;
const PRODUCTS = 4;
/** Outputs that share an input, and terms of a sum besides the taps, from which fewer products outweigh more sums. */
const MIN_REUSE = 16;
const MIN_DEPTH = 48;
/** Elements of the axis that vectors run along. */
const MIN_WIDTH = 8;
/** Elements of the products. Measured: the 4·10⁵ of 64 channels of 56 × 56 gain a third, the 6·10⁶ of 224 × 224 lose one. */
const MAX_PRODUCTS = 1 << 20;

type Generic = NodeOf<'generic'>;

export function winograd(m: Module, c: PassContext): Module {
  if (c.numerics !== 'fast') return m;
  return rewriteModule(m, {
    node(node, w) {
      if (node.kind !== 'generic' || node.reducer !== 'add' || node.binds.length > 0) return undefined;
      const site = findSite(node);
      return site ? rebuild(node, site, w) : undefined;
    },
  });
}

interface Site {
  readonly data: Expr;
  readonly filter: LoadExpr;
  /** Axis of the output along which pairs are made, and of the reduction that walks the taps. */
  readonly along: number;
  readonly taps: number;
}

function findSite(n: Generic): Site | null {
  const { body } = n;
  if (body.k !== 'op' || body.op !== 'mul' || body.dtype !== 'f32') return null;
  const [a, b] = body.args as [Expr, Expr];
  for (const [data, filter] of [
    [a, b],
    [b, a],
  ] as const) {
    if (filter.k !== 'load' || filter.guard || filter.pad || !filter.index.every(isPlain)) continue;
    for (const [along] of n.shape.entries())
      for (const [taps, size] of n.reduce.entries()) {
        const site = { data, filter, along, taps };
        if (size === TAPS && walks(site, n) && pays(site, n)) return site;
      }
  }
  return null;
}

const isPlain = (x: Expr): boolean => x.k === 'var' || x.k === 'const';

/** Whether the data depend on the output's place and the tap by their sum alone, and vectors run along another axis. */
function walks({ data, filter, along, taps }: Site, n: Generic): boolean {
  const [out, tap, inner] = [`i${along}`, `r${taps}`, `i${n.shape.length - 1}`];
  if (filter.index.some((x) => mentions(x, out) || mentions(x, inner))) return false;
  if (filter.index.filter((x) => mentions(x, tap)).length !== 1) return false;
  const loads: LoadExpr[] = [];
  const outside = rewriteExpr(data, (x) => (x.k === 'load' ? constant(0, x.dtype) : x));
  visitExpr(data, (x) => {
    if (x.k === 'load') loads.push(x);
  });
  if (mentions(outside, out) || mentions(outside, tap)) return false;
  let found = false;
  for (const x of loads) {
    if (x.guard || x.pad) return false;
    const steps = x.index.map((i) => [coefficient(i, out), coefficient(i, tap)] as const);
    if (!steps.every(([p, q]) => (isZero(p) && isZero(q)) || (isOne(p) && isOne(q)))) return false;
    const last = x.index.at(-1) as Expr;
    if (!isOne(coefficient(last, inner)) || mentions(last, out)) return false;
    found ||= steps.some(([p]) => isOne(p));
  }
  return found;
}

function pays({ data, along, taps }: Site, n: Generic): boolean {
  const size = n.shape[along] as Dim;
  if (typeof size !== 'number' || size % 2 !== 0) return false;
  const least = (sizes: readonly Dim[]): number => bounds(product(sizes))[0];
  const reuse = least(n.shape.filter((_, k) => !mentions(data, `i${k}`)));
  const depth = least(n.reduce.filter((_, k) => k !== taps));
  const width = least(n.shape.slice(-1));
  const products = (bounds(product(n.shape))[1] / 2) * PRODUCTS;
  return reuse >= MIN_REUSE && depth >= MIN_DEPTH && width >= MIN_WIDTH && products <= MAX_PRODUCTS;
}

function rebuild(n: Generic, site: Site, w: Rewriter): readonly Value[] {
  const products = emitProducts(n, site, emitFilter(n, site, w), w);
  const { along } = site;
  const at = variable(`i${along}`, 'i32');
  const second = e.and(at, 1);
  const read = (k: Expr): Expr => {
    const index = n.shape.map((_, axis) => (axis === along ? e.shrS(at, 1) : variable(`i${axis}`, 'i32')));
    return load(n.inputs.length, [k, ...index], 'f32');
  };
  const sign = e.select(e.eq(second, 0), constant(1, 'f32'), constant(-1, 'f32'));
  const sum = e.add(read(i32(1)), e.mul(sign, e.add(read(i32(2)), read(e.mul(second, 3)))));
  const body = n.post ? substituteVars(n.post, new Map([['acc', sum]])) : sum;
  const d = dropUnused({ body, post: null, operands: [...n.inputs, products] });
  return w.emit(
    { kind: 'generic', shape: n.shape, reduce: [], reducer: null, body: d.body, post: null },
    d.operands,
    n.outputs.map((v) => v.type),
    n.origin,
  );
}

/** The sums of taps, in front of the filter's own axes, of which that of the taps has one element left. */
function emitFilter(n: Generic, { filter, taps }: Site, w: Rewriter): Value {
  const v = n.inputs[filter.src] as Value;
  const axis = filter.index.findIndex((x) => mentions(x, `r${taps}`));
  const shape = [PRODUCTS, ...v.type.shape.map((d, k) => (k === axis ? 1 : d))];
  const tap = (t: number): Expr =>
    load(
      0,
      v.type.shape.map((d, k) => (k === axis ? i32(t) : d === 1 ? i32(0) : variable(`i${k + 1}`, 'i32'))),
      'f32',
    );
  const which = variable('i0', 'i32');
  const sign = e.select(e.eq(which, 1), constant(1, 'f32'), constant(-1, 'f32'));
  const inner = e.mul(e.add(e.add(tap(0), tap(2)), e.mul(sign, tap(1))), constant(0.5, 'f32'));
  const body = e.select(e.eq(which, 0), tap(0), e.select(e.eq(which, 3), tap(2), inner));
  const payload = { kind: 'generic', shape, reduce: [], reducer: null, body, post: null } as const;
  return w.emit(payload, [v], [{ dtype: 'f32', shape }], n.origin)[0] as Value;
}

/** The four products of every pair, in front of the output's own axes. */
function emitProducts(n: Generic, { data, filter, along, taps }: Site, sums: Value, w: Rewriter): Value {
  const which = variable('i0', 'i32');
  const moved = (tap: Expr): Map<string, Expr> =>
    new Map([
      ...n.shape.map((_, k): [string, Expr] => {
        const own = variable(`i${k + 1}`, 'i32');
        return [`i${k}`, k === along ? e.mul(own, 2) : own];
      }),
      ...n.reduce.map((_, k): [string, Expr] => {
        return [`r${k}`, k === taps ? tap : variable(`r${k > taps ? k - 1 : k}`, 'i32')];
      }),
    ]);
  // Of the four inputs: 0, 1, 2, 1 and 2, 2, 1, 3.
  const first = e.min(which, e.sub(PRODUCTS, which));
  const other = e.select(e.eq(which, 2), i32(1), e.select(e.eq(which, 3), i32(3), i32(2)));
  const sign = e.select(e.eq(which, 1), constant(1, 'f32'), constant(-1, 'f32'));
  const [d, f] = [first, other].map((tap) => substituteVars(data, moved(tap)));
  const place = filter.index.map((x) => substituteVars(x, moved(i32(0))));
  const factor = load(n.inputs.length, [which, ...place], 'f32');
  const body = e.mul(e.add(d as Expr, e.mul(sign, f as Expr)), factor);
  const shape = [PRODUCTS, ...n.shape.map((s, k) => (k === along ? floordiv(s, 2) : s))];
  const reduce = n.reduce.filter((_, k) => k !== taps);
  const made = dropUnused({ body, post: null, operands: [...n.inputs, sums] });
  const payload = { kind: 'generic', shape, reduce, reducer: 'add', body: made.body, post: null } as const;
  return w.emit(payload, made.operands, [{ dtype: 'f32', shape }], n.origin)[0] as Value;
}
