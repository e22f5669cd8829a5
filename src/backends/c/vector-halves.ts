// C's text for a load that makes floats of the bits of f16: one instruction where x86 has it, else arithmetic (ir/halves.ts).
// gcc has no operator for it before half floats are a type of their own.

import type { Body, TypeOf, VectorType } from './vector-type.js';
import { type Builtins, gccWith, withBuiltin } from './vector-ways.js';

/** The halves `h` they take fill 16 bytes at least. */
const BUILTINS: Builtins = {
  4: [gccWith('__F16C__'), '__builtin_ia32_vcvtph2ps(h)'],
  8: [gccWith('__F16C__'), '__builtin_ia32_vcvtph2ps256(h)'],
  16: [gccWith('__AVX512F__'), '__builtin_ia32_vcvtph2ps512_mask(h, (@f32x16){0}, -1, 4)'],
};

/** `loadWide`: the name of the load that widens integers. */
export function halvesBody(to: VectorType, loadWide: string, type: TypeOf): Body {
  const { lanes, name } = to;
  const [words, unsigned] = [type('i32', lanes).name, type('u32', lanes).name];
  const arithmetic = `return (@${name})((@${words})((@${unsigned})@${loadWide}(p) << 13) & (int32_t)0x8fffe000) * 0x1p112f;`;
  const lane = '@bits_i32_f32((int32_t)((uint32_t)p[i] << 13 & 0x8fffe000u)) * 0x1p112f';
  const halves = type('i16', Math.max(lanes, 8)).name;
  const fill = (call: string): readonly string[] => [
    `@${halves} h = {0};`,
    `__builtin_memcpy(&h, p, ${2 * lanes});`,
    `return ${call};`,
  ];
  return { simd: withBuiltin(BUILTINS, lanes, fill, [arithmetic]), lane };
}
