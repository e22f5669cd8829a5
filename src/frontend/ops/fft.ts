// Fourier transforms of long rows as loop programs, O(n log n) for any length: self-sorting stages of small radices (Stockham),
// or, where a prime factor is large, a convolution with a chirp by transforms of a power of two (Bluestein). Short rows are
// better off as the contraction of signal.ts.

import type { Builder } from '../../ir/builder.js';
import { type Dim, product } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { type Buf, buildKernel, type KernelBuilder } from '../../ir/kernel-builder.js';
import { cast, constant, dimExpr, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import type { DType } from '../../support/dtype.js';
import { fromNumbers } from '../../support/tensor.js';

type Pair = readonly [re: number, im: number];

interface Complex {
  readonly re: Expr;
  readonly im: Expr;
}

const RADICES = [4, 2, 3, 5, 7, 11, 13];

/** Radices whose product is n; undefined where a larger prime divides it. */
function radicesOf(n: number): readonly number[] | undefined {
  const found: number[] = [];
  let rest = n;
  for (const radix of RADICES)
    while (rest % radix === 0) {
      found.push(radix);
      rest /= radix;
    }
  return rest === 1 ? found : undefined;
}

/** e^(i·2π·j/n), folded to an eighth of a turn. */
function turn(j: number, n: number): Pair {
  const eighths = (8 * (((j % n) + n) % n)) / n;
  const octant = Math.floor(eighths);
  const part = octant % 2 === 0 ? eighths - octant : 1 - (eighths - octant);
  const [c, s] = [Math.cos((part * Math.PI) / 4), Math.sin((part * Math.PI) / 4)];
  const points: readonly Pair[] = [
    [c, s],
    [s, c],
    [-s, c],
    [-c, s],
    [-c, -s],
    [-s, -c],
    [s, -c],
    [c, -s],
  ];
  return points[octant] as Pair;
}

const times = ([a, b]: Pair, [c, d]: Pair): Pair => [a * c - b * d, a * d + b * c];

/** The transform of numbers that are known, of a length that is a power of two. */
function transformed(x: readonly Pair[]): readonly Pair[] {
  const n = x.length;
  if (n === 1) return x;
  const [even, odd] = [0, 1].map((p) => transformed(x.filter((_, k) => k % 2 === p))) as [Pair[], Pair[]];
  const rotated = odd.map((z, k) => times(z, turn(-k, n)));
  const sum = even.map(([a, b], k): Pair => [a + (rotated[k]?.[0] ?? 0), b + (rotated[k]?.[1] ?? 0)]);
  const difference = even.map(([a, b], k): Pair => [a - (rotated[k]?.[0] ?? 0), b - (rotated[k]?.[1] ?? 0)]);
  return [...sum, ...difference];
}

const table = (b: Builder, t: DType, pairs: readonly Pair[]): Value =>
  b.constant(fromNumbers(t, [pairs.length, 2], pairs.flat()));

/** One transform under way: two buffers the stages go to and fro between, of which row `row` is used. */
interface Work {
  readonly k: KernelBuilder;
  readonly row: Expr;
  readonly buffers: readonly [Buf, Buf];
  readonly twiddles: Buf;
}

const at = ({ k, row }: Work, buf: Buf, i: Expr): Complex => ({
  re: k.let(k.load(buf, [row, i, 0])),
  im: k.let(k.load(buf, [row, i, 1])),
});

function put({ k, row }: Work, buf: Buf, i: Expr, z: Complex): void {
  k.store(buf, [row, i, 0], z.re);
  k.store(buf, [row, i, 1], z.im);
}

const pairAt = (k: KernelBuilder, buf: Buf, i: Expr): Complex => ({ re: k.load(buf, [i, 0]), im: k.load(buf, [i, 1]) });

const product2 = (k: KernelBuilder, z: Complex, w: Complex): Complex => ({
  re: k.let(e.sub(e.mul(z.re, w.re), e.mul(z.im, w.im))),
  im: k.let(e.add(e.mul(z.re, w.im), e.mul(z.im, w.re))),
});

/** The transform of a few values; `sign` −1 is forward. */
function butterfly(k: KernelBuilder, v: readonly Complex[], sign: number): readonly Complex[] {
  const named = (z: Complex): Complex => ({ re: k.let(z.re), im: k.let(z.im) });
  const plus = (p: Complex, q: Complex): Complex => named({ re: e.add(p.re, q.re), im: e.add(p.im, q.im) });
  const minus = (p: Complex, q: Complex): Complex => named({ re: e.sub(p.re, q.re), im: e.sub(p.im, q.im) });
  const [a, b, c, d] = v as readonly [Complex, Complex, Complex, Complex];
  if (v.length === 2) return [plus(a, b), minus(a, b)];
  if (v.length === 4) {
    const [even, odd, low, high] = [plus(a, c), plus(b, d), minus(a, c), minus(b, d)];
    const turned: Complex = sign < 0 ? { re: high.im, im: e.neg(high.re) } : { re: e.neg(high.im), im: high.re };
    return [plus(even, odd), plus(low, turned), minus(even, odd), minus(low, turned)];
  }
  const r = v.length;
  const half = Array.from({ length: (r - 1) / 2 }, (_, s) => s + 1);
  const sums = half.map((s) => plus(v[s] as Complex, v[r - s] as Complex));
  const differences = half.map((s) => minus(v[s] as Complex, v[r - s] as Complex));
  const weigh = (terms: readonly Complex[], part: 're' | 'im', weight: (s: number) => number): Expr =>
    terms.map((z, s) => e.mul(z[part], weight(s + 1))).reduce((p, q) => e.add(p, q));
  const result = [
    named({ re: sums.reduce((p, z) => e.add(p, z.re), a.re), im: sums.reduce((p, z) => e.add(p, z.im), a.im) }),
  ];
  for (const t of half) {
    const [cos, sin] = [(s: number): number => turn(s * t, r)[0], (s: number): number => sign * turn(s * t, r)[1]];
    const even = named({ re: e.add(a.re, weigh(sums, 're', cos)), im: e.add(a.im, weigh(sums, 'im', cos)) });
    const odd = named({ re: weigh(differences, 'im', sin), im: weigh(differences, 're', sin) });
    result[t] = named({ re: e.sub(even.re, odd.re), im: e.add(even.im, odd.im) });
    result[r - t] = named({ re: e.add(even.re, odd.re), im: e.sub(even.im, odd.im) });
  }
  return result;
}

/** All stages; the buffer that has the result. */
function stages(w: Work, n: number, radices: readonly number[], sign: number): Buf {
  const { k } = w;
  let [from, to] = w.buffers;
  let span = 1;
  for (const radix of radices) {
    const [source, target, done] = [from, to, span];
    const blocks = n / (radix * done);
    k.for(0, blocks, (block) => {
      k.for(0, done, (j) => {
        const first = k.let(e.add(e.mul(block, done), j));
        const base = k.let(e.add(e.mul(block, done * radix), j));
        const values = Array.from({ length: radix }, (_, s) => {
          const z = at(w, source, e.add(first, (s * n) / radix));
          return s === 0 || done === 1 ? z : product2(k, z, pairAt(k, w.twiddles, e.mul(j, s * blocks)));
        });
        butterfly(k, values, sign).forEach((z, t) => {
          put(w, target, e.add(base, t * done), z);
        });
      });
    });
    [from, to] = [to, from];
    span *= radix;
  }
  return from;
}

export interface Fft {
  /** [outer, samples, inner, 1 or 2 parts]. */
  readonly x: Value;
  readonly n: number;
  readonly sums: DType;
  readonly inverse: boolean;
  readonly onesided: boolean;
}

/** Rows are transformed side by side as long as their buffers stay below this many numbers. */
const SIDE_BY_SIDE = 2 ** 18;

/** [outer, bins, inner, parts]: half of the bins of a one-sided transform, real parts alone of its inverse. */
export function fft(b: Builder, f: Fft): Value {
  const { x, n, sums: t, inverse } = f;
  const sign = inverse ? 1 : -1;
  const radices = radicesOf(n);
  const m = radices ? n : 2 ** Math.ceil(Math.log2(2 * n - 1));
  const [outer, , inner] = x.type.shape as [Dim, Dim, Dim];
  const halves = f.onesided && inverse;
  const shape = [outer, f.onesided && !inverse ? Math.floor(n / 2) + 1 : n, inner, halves ? 1 : 2];
  const rows = product([outer, inner]);
  const beside = typeof rows === 'number' && rows * m * 4 <= SIDE_BY_SIDE;
  const tables = [
    table(
      b,
      t,
      Array.from({ length: m }, (_, j) => turn((radices ? sign : -1) * j, m)),
    ),
  ];
  if (!radices) tables.push(...chirps(b, t, n, m, sign));
  const [y] = buildKernel(b, 'fft', [x, ...tables], (k) => {
    const [src, twiddles, chirp, spectrum] = k.inputs as [Buf, Buf, Buf, Buf];
    const out = k.output(x.type.dtype, shape);
    const buffers = [0, 1].map(() => k.scratch('work', t, [beside ? rows : 1, m, 2])) as [Buf, Buf];
    const run = (o: Expr, i: Expr): void => {
      const row = beside ? k.let(e.add(e.mul(o, dimExpr(inner)), i)) : constant(0, 'i32');
      const w: Work = { k, row, buffers, twiddles };
      loadRow(w, src, [o, i], f);
      const done = radices ? stages(w, n, radices, sign) : convolved(w, n, m, chirp, spectrum);
      k.for(0, dimExpr(shape[1] as Dim), (bin) => {
        const z = at(w, done, bin);
        const store = (part: number, v: Expr): void =>
          k.store(out, [o, bin, i, part], cast(inverse ? e.mul(v, 1 / n) : v, x.type.dtype));
        store(0, z.re);
        if (!halves) store(1, z.im);
      });
    };
    const mode = beside ? 'parallel' : 'serial';
    k.for(0, dimExpr(outer), (o) => k.for(0, dimExpr(inner), (i) => run(o, i), { mode }), { mode });
  });
  return y as Value;
}

/** Samples of a row, zeros beyond those there are; of half a spectrum the other half too. */
function loadRow(w: Work, src: Buf, [o, i]: readonly [Expr, Expr], { n, sums: t, inverse, onesided }: Fft): void {
  const { k, buffers } = w;
  const parts = src.shape[3] as number;
  const size = dimExpr(src.shape[1] as Dim);
  const given = (j: Expr, part: number): Expr =>
    part < parts ? cast(k.load(src, [o, j, i, part]), t) : constant(0, t);
  const halves = inverse && onesided;
  k.for(0, halves ? Math.floor(n / 2) + 1 : n, (j) => {
    const z = { re: k.mut(constant(0, t)), im: k.mut(constant(0, t)) };
    k.if(e.lt(j, size), () => {
      k.set(z.re, given(j, 0));
      k.set(z.im, given(j, 1));
    });
    put(w, buffers[0], j, z);
    if (!halves) return;
    k.if(e.and(e.lt(0, j), e.lt(e.mul(j, 2), n)), () => {
      put(w, buffers[0], e.sub(n, j), { re: z.re, im: e.neg(z.im) });
    });
  });
}

/** The chirp e^(±iπ·j²/n), and the transform of its conjugate's wrapped copy, divided by m. */
function chirps(b: Builder, t: DType, n: number, m: number, sign: number): readonly Value[] {
  const angle = (j: number): Pair => turn(sign * ((j * j) % (2 * n)), 2 * n);
  const wrapped = Array.from({ length: m }, (_, k): Pair => {
    const j = k < n ? k : k > m - n ? m - k : undefined;
    if (j === undefined) return [0, 0];
    const [c, s] = angle(j);
    return [c, -s];
  });
  const spectrum = transformed(wrapped).map(([p, q]): Pair => [p / m, q / m]);
  return [
    table(
      b,
      t,
      Array.from({ length: n }, (_, j) => angle(j)),
    ),
    table(b, t, spectrum),
  ];
}

/** Row times chirp, convolved with the conjugate chirp, times chirp. */
function convolved(w: Work, n: number, m: number, chirp: Buf, spectrum: Buf): Buf {
  const { k, buffers } = w;
  const radices = radicesOf(m) ?? [];
  k.for(0, n, (j) => put(w, buffers[0], j, product2(k, at(w, buffers[0], j), pairAt(k, chirp, j))));
  k.for(n, m, (j) => put(w, buffers[0], j, { re: constant(0, buffers[0].dtype), im: constant(0, buffers[0].dtype) }));
  const there = stages(w, m, radices, -1);
  // Parts exchanged on the way in and out, a forward transform is an inverse one.
  k.for(0, m, (j) => {
    const z = product2(k, at(w, there, j), pairAt(k, spectrum, j));
    put(w, there, j, { re: z.im, im: z.re });
  });
  const other = there === buffers[0] ? buffers[1] : buffers[0];
  const back = stages({ ...w, buffers: [there, other] }, m, radices, -1);
  k.for(0, n, (j) => {
    const z = at(w, back, j);
    put(w, back, j, product2(k, { re: z.im, im: z.re }, pairAt(k, chirp, j)));
  });
  return back;
}
