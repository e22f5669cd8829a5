// C's cells for products of narrow lanes: dot, the repeated group it reads, and the high half of 32-bit products. gcc has no
// vector operator for these, so x86 builtins stand in as far as the compiler's flags allow; otherwise lane by lane. All
// ways give the same bits. Vectors wider than the registers are left to operators: shuffling their parts is slower.

import { type DType, DTYPE_INFO } from '../../support/dtype.js';
import type { Body, Define, TypeOf, VectorType } from './vector-type.js';
import { choose, NOT_CLANG } from './vector-ways.js';

/** A group as often as it fits: by way of one integer where the group is as wide as one. */
export function repeatBody(v: VectorType, g: VectorType, type: TypeOf): Body {
  const bytes = DTYPE_INFO[g.lane].bytes * g.lanes;
  const lane = `@LANE(x, i % ${g.lanes})`;
  if (bytes !== 4) return { simd: undefined, lane };
  const words = type('i32', (v.lanes * DTYPE_INFO[v.lane].bytes) / 4);
  const every = Array.from({ length: words.lanes }, () => 'word').join(', ');
  return { simd: `const int32_t word = (int32_t)x;\n  return (@${v.name})(@${words.name}){${every}};`, lane };
}

export interface DotCell {
  readonly define: Define;
  readonly type: TypeOf;
  readonly a: DType;
  readonly b: DType;
  readonly lanes: number;
}

/** An expression for vectors of so many lanes (0: any) where `test` holds. */
interface LaneWay {
  readonly test: string;
  readonly lanes: number;
  readonly text: string;
}

export function defineDot({ define, type, a, b, lanes }: DotCell): string {
  const pairs = a === 'i16' && b === 'i16';
  const sum = type('i32', lanes);
  const group = pairs ? 2 : 4;
  const [va, vb] = [type(a, group * lanes), type(b, group * lanes)];
  const name = `dot_${a}_${b}_${sum.name}`;
  const products = Array.from(
    { length: group },
    (_, t) => `(uint32_t)(@LANE(a, ${group} * i + ${t}) * @LANE(b, ${group} * i + ${t}))`,
  );
  const lane = `(int32_t)((uint32_t)@LANE(acc, i) + ${products.join(' + ')})`;
  const head = `ON_LANES @${sum.name} ${name}(@${sum.name} acc, @${va.name} a, @${vb.name} b) {`;
  const ways = pairs ? pairWays(lanes) : quadWays(lanes, type, define);
  define(name, `${head}\n${waysText(ways, sum, lane)}\n}`);
  return `@${name}($0, $1, $2)`;
}

/** mulhi_s on i32 lanes. */
export function highProduct(name: string, v: VectorType, type: TypeOf, lane: string, define: Define): string {
  define('long_longs', LONG_LONGS);
  return `ON_LANES @${v.name} ${name}(@${v.name} a, @${v.name} b) {\n${waysText(highWays(type), v, lane)}\n}`;
}

/** The first way the compiler's flags allow; else lane by lane. */
function waysText(ways: readonly LaneWay[], result: VectorType, lane: string): string {
  const fitting = ways.filter((w) => w.lanes === result.lanes || w.lanes === 0);
  const loop = [`@${result.name} r;`, `for (int i = 0; i < ${result.lanes}; ++i) @LANE(r, i) = ${lane};`, 'return r;'];
  const cases = fitting.map((w) => ({
    test: `HEDDLE_SIMD${w.test && ` && ${w.test}`}`,
    text: [`return ${w.text};`],
  }));
  return choose(cases, loop);
}

/** acc plus a product, wrapping. */
const sumOf = (lanes: number, product: string): string =>
  `(@i32x${lanes})((@u32x${lanes})acc + (@u32x${lanes})${product})`;

const pairWays = (lanes: number): readonly LaneWay[] => [
  {
    test: `defined(__AVX512VNNI__) && ${NOT_CLANG}`,
    lanes: 16,
    text: '__builtin_ia32_vpdpwssd_v16si(acc, (@i32x16)a, (@i32x16)b)',
  },
  {
    test: `defined(__AVX512BW__) && ${NOT_CLANG}`,
    lanes: 16,
    text: sumOf(16, '__builtin_ia32_pmaddwd512_mask(a, b, (@i32x16){0}, 0xffff)'),
  },
  { test: 'defined(__AVX2__)', lanes: 8, text: sumOf(8, '__builtin_ia32_pmaddwd256(a, b)') },
  { test: 'defined(__SSE2__)', lanes: 4, text: sumOf(4, '__builtin_ia32_pmaddwd128(a, b)') },
  { test: '', lanes: 0, text: sumOf(lanes, `(${[0, 1].map((t) => wordProduct(lanes, 16, t, true)).join(' + ')})`) },
];

/** The product of part `t` of each 32-bit word, parts of `bits`; those of a are unsigned if not `signed`. */
function wordProduct(lanes: number, bits: number, t: number, signed: boolean): string {
  const part = (x: string, isSigned: boolean): string => {
    const type = isSigned ? 'i' : 'u';
    const up = 32 - bits * (t + 1);
    const top = up ? `((@u32x${lanes})${x} << ${up})` : x;
    return `(@u32x${lanes})((@${type}32x${lanes})${top} >> ${32 - bits})`;
  };
  return `${part('a', signed)} * ${part('b', true)}`;
}

/** Without an instruction for quads, those of even and of odd bytes are pairs, or each byte is a product by itself. */
function quadWays(lanes: number, type: TypeOf, define: Define): readonly LaneWay[] {
  const [signed, unsigned] = [type('i16', 2 * lanes).name, type('u16', 2 * lanes).name];
  const pairs = defineDot({ define, type, a: 'i16', b: 'i16', lanes }).slice(0, -'($0, $1, $2)'.length);
  const even = `${pairs}(acc, (@${signed})((@${unsigned})a & 255), (@${signed})((@${unsigned})b << 8) >> 8)`;
  const odd = `${pairs}(${even}, (@${signed})((@${unsigned})a >> 8), (@${signed})b >> 8)`;
  const vnni = (n: number, test: string): LaneWay => ({
    test: `defined(__AVX512VNNI__) && ${test}${NOT_CLANG}`,
    lanes: n,
    text: `__builtin_ia32_vpdpbusd_v${n}si(acc, (@i32x${n})a, (@i32x${n})b)`,
  });
  const products = [0, 1, 2, 3].map((t) => wordProduct(lanes, 8, t, false)).join(' + ');
  return [
    vnni(16, ''),
    vnni(8, 'defined(__AVX512VL__) && '),
    vnni(4, 'defined(__AVX512VL__) && '),
    { test: 'defined(__AVX512BW__)', lanes: 16, text: odd },
    { test: 'defined(__AVX2__)', lanes: 8, text: odd },
    { test: 'defined(__SSE2__)', lanes: 4, text: odd },
    { test: '', lanes: 0, text: sumOf(lanes, `(${products})`) },
  ];
}

/** The builtin's own type, which is not int64_t everywhere. */
const LONG_LONGS =
  '#if HEDDLE_SIMD /* @LANE */\ntypedef long long long_longs __attribute__((vector_size(64)));\n#endif';

/** Products of even and of odd lanes as 64 bits each; the upper words of both make the result. */
function highWays(type: TypeOf): readonly LaneWay[] {
  const way = (test: string, n: number, multiply: (x: string, y: string) => string): LaneWay => {
    const [wide, words] = [type('u64', n / 2).name, type('i32', n).name];
    const upper = (x: string): string => `(@${words})((@${wide})${x} >> 32)`;
    const high = `((@${wide})${multiply(upper('a'), upper('b'))} & ~(uint64_t)0xffffffffu)`;
    return { test, lanes: n, text: `(@${words})(((@${wide})${multiply('a', 'b')} >> 32) | ${high})` };
  };
  return [
    way(
      `defined(__AVX512F__) && ${NOT_CLANG}`,
      16,
      (x, y) => `__builtin_ia32_pmuldq512_mask(${x}, ${y}, (@long_longs){0}, 0xff)`,
    ),
    way('defined(__AVX2__)', 8, (x, y) => `__builtin_ia32_pmuldq256(${x}, ${y})`),
    way('defined(__SSE4_1__)', 4, (x, y) => `__builtin_ia32_pmuldq128(${x}, ${y})`),
  ];
}
