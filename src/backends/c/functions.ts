// The static inline functions that C's cells call, by name; a file gets only those it uses, each after what it needs.
// `@name` marks the use of another helper. Nothing here needs libm: hardware instructions where there are some, else plain C.

import { invariant } from '../../support/errors.js';
import { FLOATS, INTS } from '../lang.js';
import { C_TYPES } from './lang.js';

/** Definitions by name. */
export type Helpers = Readonly<Record<string, string>>;

const define = (result: string, name: string, args: string, body: string): Record<string, string> => ({
  [name]: `static inline ${result} ${name}(${args}) {\n${body
    .trim()
    .split('\n')
    .map((l) => (l.startsWith('#') ? l : `  ${l}`))
    .join('\n')}\n}`,
});

const both = (type: string): string => `${type} a, ${type} b`;

function integerHelpers(bits: 32 | 64): Helpers {
  const i = C_TYPES[`i${bits}`];
  const u = C_TYPES[`u${bits}`];
  const t = `i${bits}`;
  const wrapped = (name: string, sign: string): Record<string, string> =>
    define(i, `${name}_${t}`, both(i), `return (${i})((${u})a ${sign} (${u})b);`);
  return {
    ...wrapped('add', '+'),
    ...wrapped('sub', '-'),
    ...wrapped('mul', '*'),
    ...define(i, `neg_${t}`, `${i} a`, `return (${i})(0u - (${u})a);`),
    ...define(i, `abs_${t}`, `${i} a`, `return a < 0 ? @neg_${t}(a) : a;`),
    ...define(
      u,
      `clz_u${bits}`,
      `${u} a`,
      `#if @GNU_C\nreturn a ? (${u})__builtin_clz${bits === 64 ? 'll' : ''}(a) : ${bits}u;\n#else\n` +
        `${u} n = ${bits}u;\nfor (; a != 0; a >>= 1) --n;\nreturn n;\n#endif`,
    ),
    ...define(
      u,
      `popcnt_u${bits}`,
      `${u} a`,
      `#if @GNU_C && (defined(__POPCNT__) || defined(__aarch64__))\nreturn (${u})__builtin_popcount${bits === 64 ? 'll' : ''}(a);\n#else\n` +
        `${u} n = 0;\nfor (; a != 0; a &= a - 1) ++n;\nreturn n;\n#endif`,
    ),
  };
}

const highHalves: Helpers = {
  ...define('uint32_t', 'mulhi_u32', both('uint32_t'), 'return (uint32_t)(((uint64_t)a * b) >> 32);'),
  ...define('int32_t', 'mulhi_i32', both('int32_t'), 'return (int32_t)(((int64_t)a * b) >> 32);'),
  ...define(
    'uint64_t',
    'mulhi_u64',
    both('uint64_t'),
    `const uint64_t al = a & 0xffffffffu, ah = a >> 32, bl = b & 0xffffffffu, bh = b >> 32;
const uint64_t middle = ah * bl + ((al * bl) >> 32);
return ah * bh + (middle >> 32) + ((al * bh + (middle & 0xffffffffu)) >> 32);`,
  ),
  ...define(
    'int64_t',
    'mulhi_i64',
    both('int64_t'),
    `const uint64_t high = @mulhi_u64((uint64_t)a, (uint64_t)b);
return (int64_t)(high - (a < 0 ? (uint64_t)b : 0u) - (b < 0 ? (uint64_t)a : 0u));`,
  ),
};

function extrema(strict: boolean): Helpers {
  const all: Record<string, string> = {};
  for (const [name, sign, join] of [
    ['min', '<', '|'],
    ['max', '>', '&'],
  ] as const) {
    for (const t of INTS) {
      const c = C_TYPES[t];
      Object.assign(all, define(c, `${name}_${t}`, both(c), `return a ${sign} b ? a : b;`));
    }
    for (const t of FLOATS) {
      const c = C_TYPES[t];
      const i = t === 'f32' ? 'i32' : 'i64';
      const zeros = `if (a == b) return @bits_${i}_${t}(@bits_${t}_${i}(a) ${join} @bits_${t}_${i}(b));\n`;
      const body = `return a ${sign} b || a != a ? a : b;`;
      Object.assign(all, define(c, `${name}_${t}`, both(c), strict ? zeros + body : body));
    }
  }
  return all;
}

/** Reinterprets bits; C99 defines reading another member of a union so. */
const bitcasts: Helpers = Object.assign(
  {},
  ...(['f32', 'f64'] as const).flatMap((f) =>
    (f === 'f32' ? (['i32', 'u32'] as const) : (['i64', 'u64'] as const)).flatMap((i) =>
      [[f, i] as const, [i, f] as const].map(([from, to]) =>
        define(
          C_TYPES[to],
          `bits_${from}_${to}`,
          `${C_TYPES[from]} x`,
          `union { ${C_TYPES[from]} from; ${C_TYPES[to]} to; } u;\nu.from = x;\nreturn u.to;`,
        ),
      ),
    ),
  ),
);

/** Largest float below the integer type's upper end, then that end itself. */
const SATURATION = {
  f32: {
    i32: ['-2147483648.0f', '2147483520.0f', '2147483648.0f', 'INT32_MAX'],
    u32: ['0.0f', '4294967040.0f', '4294967296.0f', 'UINT32_MAX'],
    i64: ['-9223372036854775808.0f', '9223371487098961920.0f', '9223372036854775808.0f', 'INT64_MAX'],
    u64: ['0.0f', '18446742974197923840.0f', '18446744073709551616.0f', 'UINT64_MAX'],
  },
  f64: {
    i32: ['-2147483648.0', '2147483647.0', '2147483648.0', 'INT32_MAX'],
    u32: ['0.0', '4294967295.0', '4294967296.0', 'UINT32_MAX'],
    i64: ['-9223372036854775808.0', '9223372036854774784.0', '9223372036854775808.0', 'INT64_MAX'],
    u64: ['0.0', '18446744073709549568.0', '18446744073709551616.0', 'UINT64_MAX'],
  },
} as const;

/** Clamps first, so that the conversion is always defined and a loop of them vectorises. */
const saturations: Helpers = Object.assign(
  {},
  ...FLOATS.flatMap((f) =>
    INTS.map((i) => {
      const [lo, hi, end, max] = SATURATION[f][i];
      return define(
        C_TYPES[i],
        `${i}_from_${f}`,
        `${C_TYPES[f]} x`,
        `const ${C_TYPES[f]} above = x > ${lo} ? x : ${lo};
const ${C_TYPES[i]} r = (${C_TYPES[i]})(above < ${hi} ? above : ${hi});
return x != x ? 0 : x >= ${end} ? ${max} : r;`,
      );
    }),
  ),
);

const GNU_C = `#if defined(__GNUC__) && !defined(HEDDLE_PLAIN_C)
#define GNU_C 1 /* builtins and attributes of gcc and clang */
#else
#define GNU_C 0
#endif`;

const INDEPENDENT = `#if @GNU_C && defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif @GNU_C
#define INDEPENDENT _Pragma("GCC ivdep") /* no iteration reads what another writes */
#else
#define INDEPENDENT
#endif`;

/** Of a value and a constant gcc finds the smaller with masks; of two values it does not know, with one instruction. */
const kept = define(
  'float',
  'kept_f32',
  'float x',
  `#if HEDDLE_SIMD /* @LANE */
return x;
#else
volatile float unknown = x; /* to the compiler, which then has an instruction for minima and maxima with it */
return unknown;
#endif`,
);

/** gcc writes out short loops before it looks for vectors, and finds none in what it has written. */
const ROLLED = `#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 8
#define ROLLED _Pragma("GCC unroll 1") /* becomes vectors as it stands */
#else
#define ROLLED
#endif`;

/** Steps that gcc has written out share what they load, in registers that sums need; with AVX-512 there are twice as many. */
const CROWDED = `#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 8 && defined(__SSE2__) && !defined(__AVX512F__)
#define CROWDED _Pragma("GCC unroll 1") /* sums take most registers */
#else
#define CROWDED
#endif`;

const HAS_ROUNDING = `#if @GNU_C && (defined(__SSE4_1__) || defined(__aarch64__) || defined(__ARM_FEATURE_DIRECTED_ROUNDING) || defined(__wasm__))
#define HAS_ROUNDING 1 /* instructions for floor, ceil, trunc and rint */
#else
#define HAS_ROUNDING 0
#endif`;

function roundings(f: 'f32' | 'f64'): Helpers {
  const [c, suffix, one] = f === 'f32' ? ['float', 'f', '1.0f'] : ['double', '', '1.0'];
  const i = f === 'f32' ? 'i32' : 'i64';
  const whole = f === 'f32' ? '8388608.0f' : '4503599627370496.0';
  const rounding = (name: string, body: string): Record<string, string> =>
    define(
      c,
      `${name}_${f}`,
      `${c} x`,
      `#if @HAS_ROUNDING\nreturn __builtin_${name}${suffix}(x);\n#else\n${body}\n#endif`,
    );
  const fallbackAbs = `return @bits_${i}_${f}(@bits_${f}_${i}(x) & ${i === 'i32' ? 'INT32_MAX' : 'INT64_MAX'});`;
  return {
    ...define(c, `abs_${f}`, `${c} x`, `#if @GNU_C\nreturn __builtin_fabs${suffix}(x);\n#else\n${fallbackAbs}\n#endif`),
    ...define(c, `signed_like_${f}`, `${c} x, ${c} sign`, signedLike(i, f)),
    ...rounding(
      'trunc',
      `if (!(@abs_${f}(x) < ${whole})) return x;\nreturn @signed_like_${f}((${c})(${C_TYPES[i]})x, x);`,
    ),
    ...rounding('rint', rintFallback(f, c, whole)),
    ...rounding('floor', `const ${c} r = @trunc_${f}(x);\nreturn r > x ? r - ${one} : r;`),
    ...rounding('ceil', `const ${c} r = @trunc_${f}(x);\nreturn r < x ? r + ${one} : r;`),
  };
}

const signedLike = (i: 'i32' | 'i64', f: string): string => {
  const [min, max] = i === 'i32' ? ['INT32_MIN', 'INT32_MAX'] : ['INT64_MIN', 'INT64_MAX'];
  return `return @bits_${i}_${f}((@bits_${f}_${i}(x) & ${max}) | (@bits_${f}_${i}(sign) & ${min}));`;
};

/** Adding 2^23 (2^52) leaves no room for a fraction; the hardware rounds it half to even. */
const rintFallback = (f: string, c: string, whole: string): string => `const ${c} a = @abs_${f}(x);
if (!(a < ${whole})) return x;
return @signed_like_${f}((a + ${whole}) - ${whole}, x);`;

const squareRoots: Helpers = {
  ...define(
    'double',
    'sqrt_plain',
    'double x',
    `const int64_t bits = @bits_f64_i64(x);
uint64_t m = (uint64_t)bits & 0xfffffffffffffu, q = 0, rest = 0;
int e = (int)(bits >> 52);
if (x == 0.0 || x != x || bits == INT64_C(0x7ff0000000000000)) return x;
if (bits < 0) return @NOT_A_NUMBER;
if (e == 0) {
  for (e = 1; m < UINT64_C(0x10000000000000); m <<= 1) --e;
} else {
  m |= UINT64_C(0x10000000000000);
}
e -= 1023;
if (e & 1) {
  m <<= 1;
  --e;
}
for (int i = 53; i >= 0; --i) { /* one bit of the root at a time, two bits of m << 54 */
  const uint64_t trial = (q << 2) | 1u;
  rest = (rest << 2) | (i >= 27 ? (m >> (2 * i - 54)) & 3u : 0u);
  q <<= 1;
  if (rest >= trial) {
    rest -= trial;
    q |= 1u;
  }
}
q = (q + 1u) >> 1; /* never a tie */
return @bits_i64_f64((int64_t)(((uint64_t)(e / 2 + 1022) << 52) + q));`,
  ),
  ...squareRoot('f32', 'float', 'f', 's', '0x4', '(float)@sqrt_plain((double)x)'),
  ...squareRoot('f64', 'double', '', 'd', '0x8', '@sqrt_plain(x)'),
};

/** gcc's builtin calls libm for errno's sake unless told not to; the instruction is then reached another way. */
function squareRoot(f: string, c: string, suffix: string, x86: string, fp: string, plain: string): Helpers {
  const lanes = f === 'f32' ? '{x, 0.0f, 0.0f, 0.0f}' : '{x, 0.0}';
  return define(
    c,
    `sqrt_${f}`,
    `${c} x`,
    `#if @GNU_C && defined(__NO_MATH_ERRNO__) && (defined(__SSE2__) || defined(__aarch64__) || defined(__wasm__))
return __builtin_sqrt${suffix}(x);
#elif @GNU_C && !defined(__clang__) && defined(__SSE2__)
typedef ${c} lanes __attribute__((vector_size(16)));
const lanes v = ${lanes};
return __builtin_ia32_sqrts${x86}(v)[0];
#elif @GNU_C && defined(__aarch64__)
${c} r;
__asm__("fsqrt %${x86}0, %${x86}1" : "=w"(r) : "w"(x));
return r;
#elif @GNU_C && defined(__ARM_FP) && (__ARM_FP & ${fp}) && defined(__NO_MATH_ERRNO__)
return __builtin_sqrt${suffix}(x);
#else
return ${plain};
#endif`,
  );
}

const floatSpecials: Helpers = {
  INFINITE: '#if @GNU_C\n#define INFINITE __builtin_inf()\n#else\n#define INFINITE (1e308 * 10.0)\n#endif',
  NOT_A_NUMBER:
    '#if @GNU_C\n#define NOT_A_NUMBER __builtin_nan("")\n#else\n#define NOT_A_NUMBER (1e308 * 10.0 * 0.0)\n#endif',
};

/** Every scalar helper. `strict` tells zeros apart in min and max, as the interpreter does. */
export const scalarHelpers = (strict: boolean): Helpers => ({
  ...integerHelpers(32),
  ...integerHelpers(64),
  ...highHalves,
  ...extrema(strict),
  ...bitcasts,
  ...saturations,
  GNU_C,
  INDEPENDENT,
  ROLLED,
  CROWDED,
  ...kept,
  HAS_ROUNDING,
  ...roundings('f32'),
  ...roundings('f64'),
  ...squareRoots,
  ...floatSpecials,
});

/** The texts of `used` and of all they need, each after its needs. */
export function collectHelpers(
  used: Iterable<string>,
  lookup: (name: string) => string | undefined,
): readonly string[] {
  const done = new Set<string>();
  const texts: string[] = [];
  const add = (name: string): void => {
    if (done.has(name)) return;
    done.add(name);
    const text = lookup(name);
    invariant(text !== undefined, `no C helper ${name}`);
    for (const m of text.matchAll(/@(\w+)/g)) add(m[1] as string);
    texts.push(text.replace(/@(\w+)/g, '$1'));
  };
  for (const name of [...used].sort()) add(name);
  return texts;
}
