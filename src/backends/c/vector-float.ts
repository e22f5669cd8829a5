// C's texts for operations on lanes of f32 that gcc takes apart: rounding, square roots, and integers of floats. x86 has
// instructions for them; elsewhere operators on whole vectors give the same bits.

import type { PrimitiveOp } from '../../ir/scalar.js';
import { type Builtins, gccWith, withBuiltin } from './vector-ways.js';

const rounding = (mode: number): Builtins => ({
  4: [gccWith('__SSE4_1__'), `__builtin_ia32_roundps(a, ${mode})`],
  8: [gccWith('__AVX__'), `__builtin_ia32_roundps256(a, ${mode})`],
  16: [gccWith('__AVX512F__'), `__builtin_ia32_rndscaleps_mask(a, ${mode}, a, -1, 4)`],
});

const ROOT: Builtins = {
  4: [gccWith('__SSE__'), '__builtin_ia32_sqrtps(a)'],
  8: [gccWith('__AVX__'), '__builtin_ia32_sqrtps256(a)'],
  16: [gccWith('__AVX512F__'), '__builtin_ia32_sqrtps512_mask(a, a, -1, 4)'],
};

/** Towards zero; what is out of range, and NaN, becomes the least integer. */
const TO_INTEGERS: Builtins = {
  4: [gccWith('__SSE2__'), '__builtin_ia32_cvttps2dq(a)'],
  8: [gccWith('__AVX__'), '__builtin_ia32_cvttps2dq256(a)'],
  16: [gccWith('__AVX512F__'), '__builtin_ia32_cvttps2dq512_mask(a, (@i32x16){0}, -1, 4)'],
};

/** x86's numbers for them, without a report of what is lost. */
const MODES: Readonly<Record<string, number>> = { floor: 9, ceil: 10, trunc: 11, rint: 12 };

/** The body of a rounding or a square root of `a`, of `lanes` × f32; absent for other operations. */
export function floatLanes(op: PrimitiveOp, lanes: number): string | undefined {
  if (op === 'sqrt') return rootLanes(lanes);
  const mode = MODES[op];
  if (mode === undefined) return undefined;
  return withBuiltin(rounding(mode), lanes, (call) => [`return ${call};`], roundedBySum(op, lanes));
}

/** By adding 2^23, where there are no fractions, or by way of integers; floats of 2^23 and more, and NaN, stay as they are. */
function roundedBySum(op: PrimitiveOp, lanes: number): readonly string[] {
  const [f, i] = [`@f32x${lanes}`, `@i32x${lanes}`];
  const small = [`const ${f} size = (${f})((${i})a & INT32_MAX);`, `const ${i} m = size < 8388608.0f;`];
  const signed = (x: string): string => `(${f})((m & ((${i})(${x}) | ((${i})a & INT32_MIN))) | (~m & (${i})a))`;
  if (op === 'rint') return [...small, `return ${signed('size + 8388608.0f - 8388608.0f')};`];
  const whole = `__builtin_convertvector(__builtin_convertvector((${f})((${i})size & m), ${i}), ${f})`;
  if (op === 'trunc') return [...small, `return ${signed(whole)};`];
  const [test, moved] = op === 'floor' ? ['whole > a', 'whole - 1.0f'] : ['whole < a', 'whole + 1.0f'];
  return [
    ...small,
    `const ${f} whole = ${signed(whole)};`,
    `const ${i} past = ${test};`,
    `return (${f})((past & (${i})(${moved})) | (~past & (${i})whole));`,
  ];
}

function rootLanes(lanes: number): string {
  const roots = Array.from({ length: lanes }, (_, k) => `@sqrt_f32(a[${k}])`);
  return withBuiltin(ROOT, lanes, (call) => [`return ${call};`], [`return (@f32x${lanes}){${roots.join(', ')}};`]);
}

/** The body of i32 from `a`: towards zero, the nearest there is beyond their range, and 0 of NaN. */
export function integersFrom(lanes: number): string {
  const [f, i] = [`@f32x${lanes}`, `@i32x${lanes}`];
  return withBuiltin(TO_INTEGERS, lanes, (call) => [`return (${call} ^ (a >= 2147483648.0f)) & (a == a);`], [
    `const ${i} m = (a >= -2147483648.0f) & (a < 2147483648.0f);`,
    `const ${i} r = __builtin_convertvector((${f})((${i})a & m), ${i});`,
    `return r | ((a >= 2147483648.0f) & INT32_MAX) | ((a < -2147483648.0f) & INT32_MIN);`,
  ]);
}
