// Fourier transforms of real signals of power-of-two length, as loop programs: a complex transform of half the length in
// radix 4 (and one stage of radix 2), then the split into the real signal's bins. The order of operations and, for
// integers, every rounding is that of the fixed-point library the micro front ends use: each stage divides by its radix.

import type { Builder } from '../../ir/builder.js';
import type { Dim } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { type Buf, buildKernel, type KernelBuilder } from '../../ir/kernel-builder.js';
import { cast, type Expr } from '../../ir/scalar.js';
import type { Value } from '../../ir/tensor.js';
import { fromNumbers } from '../../support/tensor.js';

/** Element types a transform is computed in; integers have all bits but the sign behind the point. */
export type FftType = 'i16' | 'i32' | 'f32' | 'f64';

interface Complex {
  readonly re: Expr;
  readonly im: Expr;
}

/** How numbers of one type are rotated, divided and halved. Results are kept in the type that holds them. */
interface Arithmetic {
  readonly keep: (x: Expr) => Expr;
  readonly rotate: (z: Complex, w: Complex) => Complex;
  readonly divide: (x: Expr, by: number) => Expr;
  readonly half: (x: Expr) => Expr;
  readonly twiddle: (angle: number) => readonly [number, number];
}

function integerArithmetic(bits: 16 | 32): Arithmetic {
  const most = 2 ** (bits - 1) - 1;
  const wide = bits === 16 ? 'i32' : 'i64';
  const keep = (x: Expr): Expr => (bits === 16 ? cast(cast(x, 'i16'), 'i32') : cast(x, 'i32'));
  const round = (x: Expr): Expr => keep(e.shrS(e.add(x, 2 ** (bits - 2)), bits - 1));
  const mul = (p: Expr, q: Expr): Expr => e.mul(cast(p, wide), cast(q, wide));
  return {
    keep,
    rotate: (z, w) => ({
      re: round(e.sub(mul(z.re, w.re), mul(z.im, w.im))),
      im: round(e.add(mul(z.re, w.im), mul(z.im, w.re))),
    }),
    divide: (x, by) => round(e.mul(cast(x, wide), Math.floor(most / by))),
    half: (x) => keep(e.shrS(x, 1)),
    twiddle: (a) => [Math.floor(0.5 + most * Math.cos(a)), Math.floor(0.5 + most * Math.sin(a))],
  };
}

const FLOAT: Arithmetic = {
  keep: (x) => x,
  rotate: (z, w) => ({
    re: e.sub(e.mul(z.re, w.re), e.mul(z.im, w.im)),
    im: e.add(e.mul(z.re, w.im), e.mul(z.im, w.re)),
  }),
  divide: (x) => x,
  half: (x) => e.mul(x, 0.5),
  twiddle: (a) => [Math.cos(a), Math.sin(a)],
};

const arithmeticOf = (t: FftType): Arithmetic =>
  t === 'i16' ? integerArithmetic(16) : t === 'i32' ? integerArithmetic(32) : FLOAT;

/** Type expressions of `t` are computed in. */
const workType = (t: FftType) => (t === 'i16' ? 'i32' : t);

/** Radix and remaining length of each stage, outermost first. */
function stagesOf(length: number): readonly { readonly radix: 2 | 4; readonly span: number }[] {
  const stages: { radix: 2 | 4; span: number }[] = [];
  for (let n = length; n > 1; ) {
    const radix = n % 4 === 0 ? 4 : 2;
    n /= radix;
    stages.push({ radix, span: n });
  }
  return stages;
}

/** Where each element of the input is stored so that the stages can run in place. */
function inputOrder(length: number): readonly number[] {
  const place = new Array<number>(length);
  const walk = (from: number, step: number, to: number, rest: ReturnType<typeof stagesOf>): void => {
    const [stage, ...inner] = rest;
    if (!stage) place[from] = to;
    else for (let k = 0; k < stage.radix; k++) walk(from + k * step, step * stage.radix, to + k * stage.span, inner);
  };
  walk(0, 1, 0, stagesOf(length));
  return place;
}

/** Tables of one transform, as kernel inputs. */
function tables(b: Builder, t: FftType, length: number, inverse: boolean): readonly Value[] {
  const { twiddle } = arithmeticOf(t);
  const sign = inverse ? 1 : -1;
  const pairs = (n: number, angle: (k: number) => number): readonly number[] =>
    Array.from({ length: n }, (_, k) => twiddle(sign * angle(k))).flat();
  const half = length / 2;
  return [
    b.constant(
      fromNumbers(
        t,
        [half, 2],
        pairs(half, (k) => (2 * Math.PI * k) / half),
      ),
    ),
    b.constant(
      fromNumbers(
        t,
        [Math.max(1, half / 2), 2],
        pairs(Math.max(1, half / 2), (k) => Math.PI * ((k + 1) / half + 0.5)),
      ),
    ),
    b.constant(fromNumbers('i32', [half], inputOrder(half))),
  ];
}

/** One transform under way in a kernel: `work` holds half as many complex numbers as the real signal has samples. */
interface Plan {
  readonly k: KernelBuilder;
  readonly type: FftType;
  readonly half: number;
  readonly inverse: boolean;
  readonly work: Buf;
  readonly twiddles: Buf;
  readonly split: Buf;
  readonly order: Buf;
}

const at = ({ k, type }: Plan, buf: Buf, i: Expr): Complex => ({
  re: k.let(cast(k.load(buf, [i, 0]), workType(type))),
  im: k.let(cast(k.load(buf, [i, 1]), workType(type))),
});

function put({ k }: Plan, buf: Buf, i: Expr, z: Complex): void {
  k.store(buf, [i, 0], cast(z.re, buf.dtype));
  k.store(buf, [i, 1], cast(z.im, buf.dtype));
}

/** Runs all stages in place, innermost first. */
function complexStages(p: Plan): void {
  const { k, half } = p;
  const stages = stagesOf(half);
  for (let s = stages.length - 1; s >= 0; s--) {
    const { radix, span } = stages[s] as { radix: 2 | 4; span: number };
    const blocks = half / (radix * span);
    k.for(0, blocks, (block) => {
      k.for(0, span, (u) => {
        const first = k.let(e.add(e.mul(block, radix * span), u));
        butterfly(
          p,
          radix,
          (j) => e.add(first, j * span),
          (j) => e.mul(u, j * blocks),
        );
      });
    });
  }
}

function butterfly(p: Plan, radix: 2 | 4, place: (j: number) => Expr, turn: (j: number) => Expr): void {
  const { k, work, twiddles, inverse } = p;
  const { divide, keep, rotate } = arithmeticOf(p.type);
  const named = (z: Complex): Complex => ({ re: k.let(keep(z.re)), im: k.let(keep(z.im)) });
  const read = (j: number): Complex => {
    const z = at(p, work, place(j));
    const small = named({ re: divide(z.re, radix), im: divide(z.im, radix) });
    return j === 0 ? small : named(rotate(small, at(p, twiddles, turn(j))));
  };
  const plus = (x: Complex, y: Complex): Complex => named({ re: e.add(x.re, y.re), im: e.add(x.im, y.im) });
  const minus = (x: Complex, y: Complex): Complex => named({ re: e.sub(x.re, y.re), im: e.sub(x.im, y.im) });
  const z = Array.from({ length: radix }, (_, j) => read(j)) as [Complex, Complex, Complex, Complex];
  if (radix === 2) {
    put(p, work, place(1), minus(z[0], z[1]));
    put(p, work, place(0), plus(z[0], z[1]));
    return;
  }
  const [even, odd] = [plus(z[0], z[2]), plus(z[1], z[3])];
  const [low, high] = [minus(z[0], z[2]), minus(z[1], z[3])];
  const turned: Complex = { re: high.im, im: high.re };
  const left: Complex = { re: e.add(low.re, turned.re), im: e.sub(low.im, turned.im) };
  const right: Complex = { re: e.sub(low.re, turned.re), im: e.add(low.im, turned.im) };
  put(p, work, place(2), minus(even, odd));
  put(p, work, place(0), plus(even, odd));
  put(p, work, place(1), inverse ? right : left);
  put(p, work, place(3), inverse ? left : right);
}

/** Bins 0 … half from the complex transform of even and odd samples. */
function splitBins(p: Plan, store: (bin: Expr, z: Complex) => void): void {
  const { k, half, work, split, type } = p;
  const { divide, keep, rotate, half: halve } = arithmeticOf(type);
  const small = (z: Complex): Complex => ({ re: k.let(divide(z.re, 2)), im: k.let(divide(z.im, 2)) });
  const zero = e.const(0, workType(type));
  const first = small(at(p, work, e.const(0, 'i32')));
  store(e.const(0, 'i32'), { re: keep(e.add(first.re, first.im)), im: zero });
  store(e.const(half, 'i32'), { re: keep(e.sub(first.re, first.im)), im: zero });
  k.for(1, half / 2 + 1, (bin) => {
    const mirror = k.let(e.sub(half, bin));
    const x = small(at(p, work, bin));
    const other = at(p, work, mirror);
    const y = small({ re: other.re, im: k.let(keep(e.neg(other.im))) });
    const sum = { re: k.let(keep(e.add(x.re, y.re))), im: k.let(keep(e.add(x.im, y.im))) };
    const difference = { re: k.let(keep(e.sub(x.re, y.re))), im: k.let(keep(e.sub(x.im, y.im))) };
    const turned = rotate(difference, at(p, split, e.sub(bin, 1)));
    const t = { re: k.let(turned.re), im: k.let(turned.im) };
    store(bin, { re: halve(e.add(sum.re, t.re)), im: halve(e.add(sum.im, t.im)) });
    store(mirror, { re: halve(e.sub(sum.re, t.re)), im: halve(e.sub(t.im, sum.im)) });
  });
}

export interface RealFft {
  readonly b: Builder;
  readonly type: FftType;
  /** Samples, a power of two from 4 on. */
  readonly length: number;
  readonly inputs: readonly Value[];
  /** Leading sizes of the result: one transform each. */
  readonly rows: readonly Dim[];
}

const planOf = (k: KernelBuilder, type: FftType, length: number, inverse: boolean, given: number): Plan => ({
  k,
  type,
  half: length / 2,
  inverse,
  work: k.scratch('work', type, [length / 2, 2]),
  twiddles: k.inputs[given] as Buf,
  split: k.inputs[given + 1] as Buf,
  order: k.inputs[given + 2] as Buf,
});

/** Forward transforms: `sample` gives sample i of a row, `output` declares what `store` fills with bins 0 … length/2. */
export function forwardFft(
  { b, type, length, inputs, rows }: RealFft,
  sample: (k: KernelBuilder, row: readonly Expr[], i: Expr) => Expr,
  output: (k: KernelBuilder) => (row: readonly Expr[], bin: Expr, z: Complex) => void,
): Value {
  const all = [...inputs, ...tables(b, type, length, false)];
  return buildKernel(b, 'real_fft', all, (k) => {
    const store = output(k);
    const p = planOf(k, type, length, false, inputs.length);
    k.forEach(rows, (row) => {
      k.for(0, p.half, (i) => {
        const to = k.let(k.load(p.order, [i]));
        for (const part of [0, 1]) k.store(p.work, [to, part], cast(sample(k, row, e.add(e.mul(i, 2), part)), type));
      });
      complexStages(p);
      splitBins(p, (bin, z) => store(row, bin, z));
    });
  })[0] as Value;
}

/** Inverse transforms of x [rows…, (length/2 + 1)·2] to [rows…, length]. */
export function inverseFft({ b, type, length, inputs, rows }: RealFft): Value {
  const all = [...inputs, ...tables(b, type, length, true)];
  return buildKernel(b, 'inverse_real_fft', all, (k) => {
    const y = k.output(type, [...rows, length]);
    const p = planOf(k, type, length, true, inputs.length);
    const x = k.inputs[0] as Buf;
    k.forEach(rows, (row) => {
      joinBins(p, (bin, part) => cast(k.load(x, [...row, e.add(e.mul(bin, 2), part)]), workType(type)));
      complexStages(p);
      k.for(0, p.half, (i) => {
        const z = at(p, p.work, i);
        k.store(y, [...row, e.mul(i, 2)], cast(z.re, type));
        k.store(y, [...row, e.add(e.mul(i, 2), 1)], cast(z.im, type));
      });
    });
  })[0] as Value;
}

/** Undoes splitBins, into the order the stages want. */
function joinBins(p: Plan, bin: (i: Expr, part: 0 | 1) => Expr): void {
  const { k, half, work, split, order, type } = p;
  const { divide, keep, rotate } = arithmeticOf(type);
  const small = (z: Complex): Complex => ({ re: k.let(divide(z.re, 2)), im: k.let(divide(z.im, 2)) });
  const read = (i: Expr): Complex => ({ re: k.let(bin(i, 0)), im: k.let(bin(i, 1)) });
  const place = (i: Expr): Expr => k.let(k.load(order, [i]));
  const zero = e.const(0, 'i32');
  const [low, top] = [read(zero), read(e.const(half, 'i32'))];
  put(p, work, place(zero), small({ re: keep(e.add(low.re, top.re)), im: keep(e.sub(low.re, top.re)) }));
  k.for(1, half / 2 + 1, (i) => {
    const mirror = k.let(e.sub(half, i));
    const x = small(read(i));
    const other = read(mirror);
    const y = small({ re: other.re, im: k.let(keep(e.neg(other.im))) });
    const even = { re: k.let(keep(e.add(x.re, y.re))), im: k.let(keep(e.add(x.im, y.im))) };
    const difference = { re: k.let(keep(e.sub(x.re, y.re))), im: k.let(keep(e.sub(x.im, y.im))) };
    const turned = rotate(difference, at(p, split, e.sub(i, 1)));
    const odd = { re: k.let(turned.re), im: k.let(turned.im) };
    put(p, work, place(i), { re: keep(e.add(even.re, odd.re)), im: keep(e.add(even.im, odd.im)) });
    put(p, work, place(mirror), { re: keep(e.sub(even.re, odd.re)), im: keep(e.neg(e.sub(even.im, odd.im))) });
  });
}
