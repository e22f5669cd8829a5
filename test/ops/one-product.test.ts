// Short forms of requantisation equal the reference on every value they are made for, and are refused where they would not.

import { describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { lowerToProgram } from '../../src/compile.js';
import { constantProduct } from '../../src/frontend/ops/quantized/constant-factor.js';
import { quantizeMultiplier, type Rounding, scaled } from '../../src/frontend/ops/quantized/fixed-point.js';
import { oneProduct } from '../../src/frontend/ops/quantized/one-product.js';
import { chooseOffsets, offsetsFor, type Requantization, stepsOf } from '../../src/frontend/ops/quantized/steps.js';
import { weightedSum } from '../../src/frontend/ops/quantized/weighted-sum.js';
import { type Builder, createBuilder } from '../../src/ir/builder.js';
import { cast } from '../../src/ir/scalar.js';
import type { Value } from '../../src/ir/tensor.js';
import type { DType } from '../../src/support/dtype.js';
import { fromNumbers, type Tensor, toNumbers } from '../../src/support/tensor.js';

const ROUNDINGS: readonly Rounding[] = ['double', 'single'];
const BYTE = { lo: -128, hi: 127 };

/** f on tensors of these values, computed by the interpreter. */
function evaluate(
  inputs: readonly { readonly dtype: DType; readonly values: ArrayLike<number>; readonly shape?: readonly number[] }[],
  f: (b: Builder, x: readonly Value[]) => Value,
): Float64Array {
  const b = createBuilder();
  const tensors = inputs.map((v) => fromNumbers(v.dtype, v.shape ?? [v.values.length], v.values));
  const body = b.region(
    tensors.map(({ dtype, shape }) => ({ dtype, shape })),
    (params) => [f(b, params)],
  );
  const names = inputs.map((_, k) => `x${k}`);
  const module = { name: 'm', entries: [{ name: 'run', inputNames: names, outputNames: ['y'], body }], states: [] };
  const fed = Object.fromEntries(tensors.map((t, k) => [`x${k}`, t]));
  return toNumbers(createInterpreter(lowerToProgram(module)).runSync(fed).y as Tensor);
}

const reference = (x: number, r: Omit<Requantization, 'domain'>, rounding: Rounding): number =>
  Math.min(r.range.hi, Math.max(r.range.lo, scaled(x, r.multiplier, rounding) + r.zero));

const upTo = (lo: number, hi: number): Float64Array => Float64Array.from({ length: hi - lo + 1 }, (_, k) => lo + k);

/** Scales as layers have them; 0 for a channel that is pruned, and one whose sums hardly move the result. */
const LAYERS: readonly {
  readonly name: string;
  readonly factors: readonly number[];
  readonly reach: number;
  readonly zero: number;
}[] = [
  { name: 'alike', factors: [0.0041, 0.0052, 0.0073], reach: 2 ** 17, zero: -7 },
  { name: 'far apart', factors: [0.00031, 0.0052, 0.021], reach: 2 ** 16, zero: -128 },
  { name: 'with a pruned channel', factors: [0.0041, 0, 1e-7], reach: 2 ** 16, zero: 3 },
  { name: 'powers of two, whose halves are ties', factors: [2 ** -7, 2 ** -8, 2 ** -6], reach: 2 ** 15, zero: 0 },
  { name: 'of few values', factors: [0.83], reach: 255, zero: 11 },
  { name: 'larger than one', factors: [1.7], reach: 255, zero: 11 },
];

describe('requantisation by one product', () => {
  for (const rounding of ROUNDINGS)
    for (const { name, factors, reach, zero } of LAYERS)
      it(`gives the reference's level of every sum, by channel: ${name}, ${rounding} rounding`, () => {
        const channels = factors.map((f) => ({
          multiplier: quantizeMultiplier(f, rounding),
          zero,
          range: BYTE,
          domain: { lo: -reach, hi: reach - 1 },
        }));
        const sums = upTo(-reach, reach - 1);
        const rows = Float64Array.from(sums, (v) => v);
        const found = evaluate([{ dtype: 'i32', values: rows }], (b, [x]) => {
          const level = oneProduct(b, channels, rounding);
          if (!level || !x) throw new Error('no short form was found');
          return b.generic({
            shape: [rows.length, factors.length],
            body: (i, _r, read) => level(read(x, [i[0] as never]), read, i[1] as never),
          });
        });
        const expected = Array.from(sums).flatMap((v) => channels.map((c) => reference(v, c, rounding)));
        expect(Buffer.compare(Buffer.from(Int8Array.from(found)), Buffer.from(Int8Array.from(expected)))).toBe(0);
      });

  it('is refused for more than 8 bits, and where the reference itself may overflow', () => {
    const r = { multiplier: quantizeMultiplier(0.3), zero: 0, range: BYTE, domain: { lo: -1000, hi: 1000 } };
    expect(oneProduct(createBuilder(), [r], 'double')).not.toBeNull();
    expect(oneProduct(createBuilder(), [{ ...r, range: { lo: -(2 ** 15), hi: 2 ** 15 - 1 } }], 'double')).toBeNull();
    expect(oneProduct(createBuilder(), [{ ...r, domain: { lo: -(2 ** 31), hi: 2 ** 31 - 1 } }], 'double')).toBeNull();
  });
});

describe('steps', () => {
  for (const rounding of ROUNDINGS)
    it(`are all there are: between two of them the level is one, ${rounding} rounding`, () => {
      for (const factor of [0.0123, 0.25, 2 ** -9, 0.9, 3e-5]) {
        const r = {
          multiplier: quantizeMultiplier(factor, rounding),
          zero: -20,
          range: BYTE,
          domain: { lo: -60000, hi: 70000 },
        };
        const points = stepsOf(r, rounding);
        if (!points) throw new Error('within 32 bits');
        let [at, wrong] = [0, 0];
        for (let x = r.domain.lo; x <= r.domain.hi; x++) {
          if (points.values[at + 1] === x) at++;
          if (points.levels[at] !== reference(x, r, rounding)) wrong++;
        }
        expect(wrong).toBe(0);
        expect(at).toBe(points.values.length - 1);
      }
    });

  it('give no offset where two values of one product have different levels', () => {
    expect(offsetsFor(Int32Array.of(1, 2), Float64Array.of(40, 40), 4, BYTE)).toBeNull();
    const found = offsetsFor(Int32Array.of(-1, -1, 1, 1), Float64Array.of(-20, -8, 8, 20), 4, BYTE);
    expect(found && chooseOffsets([found]).below).not.toBeNull(); // halves go away from 0: no one offset does both
  });
});

describe('a sum of bytes by two products', () => {
  const CASES = [
    { left: 0.021, right: 0.017, out: 0.027, zeros: [3, -11, 5], isNegative: false },
    { left: 0.5, right: 0.5, out: 1, zeros: [0, 0, 0], isNegative: false }, // ties
    { left: 0.051317233, right: 0.003971489, out: 0.040296127, zeros: [-128, 127, -1], isNegative: true },
  ] as const;
  for (const rounding of ROUNDINGS)
    for (const { left, right, out, zeros, isNegative } of CASES)
      it(`gives the reference's level of every pair: scales ${left} and ${right}, ${rounding} rounding`, () => {
        const twice = 2 * Math.max(left, right);
        const [p, q, o] = [left / twice, right / twice, twice / (2 ** 20 * out)].map((m) =>
          quantizeMultiplier(m, rounding),
        ) as never as Parameters<typeof scaled>[1][];
        const [zp, zq, zo] = zeros;
        const term = (zero: number, multiplier: typeof p) => ({
          domain: { lo: -128 - zero, hi: 127 - zero },
          multiplier: multiplier as never,
        });
        const level = weightedSum(
          {
            terms: [
              { ...term(zp, p), isNegative: false },
              { ...term(zq, q), isNegative },
            ],
            bits: 20,
            out: o as never,
            zero: zo,
            range: BYTE,
          },
          rounding,
        );
        if (!level) throw new Error('no short form was found');
        const [xs, ys] = [upTo(-128 - zp, 127 - zp), upTo(-128 - zq, 127 - zq)];
        const found = evaluate(
          [
            { dtype: 'i32', values: xs, shape: [256, 1] },
            { dtype: 'i32', values: ys },
          ],
          (b, [x, y]) => b.map([x as Value, y as Value], level),
        );
        const lift = (v: number, m: typeof p): number => scaled(v * 2 ** 20, m as never, rounding);
        const expected = Array.from(xs).flatMap((x) =>
          Array.from(ys, (y) =>
            reference(
              lift(x, p) + (isNegative ? -1 : 1) * lift(y, q),
              { multiplier: o as never, zero: zo, range: BYTE },
              rounding,
            ),
          ),
        );
        expect(Array.from(found)).toEqual(expected);
      });
});

describe('bytes times constants', () => {
  for (const rounding of ROUNDINGS)
    it(`give the reference's level of every product, ${rounding} rounding`, () => {
      const slopes = upTo(-128, 127);
      const multiplier = quantizeMultiplier(0.0061, rounding);
      const r = { multiplier, zero: -4, range: BYTE };
      const found = evaluate(
        [{ dtype: 'i8', values: Array.from({ length: 256 * 256 }, (_, k) => (k >> 8) - 128), shape: [256, 256] }],
        (b, [x]) => {
          const by = b.constant(fromNumbers('i8', [256], slopes));
          const spec = { x: x as Value, from: { scale: 1, zero: 9 }, by, byZero: -2, dtype: 'i8' as const, ...r };
          const made = constantProduct(b, spec, rounding);
          if (!made) throw new Error('no short form was found');
          return b.map([made], (v) => cast(v, 'i32'));
        },
      );
      const bytes = Array.from(upTo(-128, 127));
      expect(Array.from(found)).toEqual(
        bytes.flatMap((x) => Array.from(slopes, (y) => reference((x - 9) * (y + 2), r, rounding))),
      );
    });
});
