// C's vector cells. A vector type is a GCC/clang vector where HEDDLE_SIMD is on and a struct of lanes elsewhere; every
// operation is a small function, defined when first used, that loops over the lanes unless compilers have an operator for it.
// A vector of i1 is a mask of i32 lanes, 0 or −1.

import type { PrimitiveOp } from '../../ir/scalar.js';
import { DTYPE_INFO, type DType, isFloat } from '../../support/dtype.js';
import { fill, atom } from '../cell.js';
import {
  type CellLookup,
  computeType,
  type Lang,
  type Shift,
  STORED,
  type StoredType,
  type VectorCells,
} from '../lang.js';
import { C_TYPES } from './lang.js';
import { simdLoad, simdStore } from './vector-convert.js';
import { floatLanes, integersFrom } from './vector-float.js';
import { halvesBody } from './vector-halves.js';
import { defineDot, highProduct, repeatBody } from './vector-dot.js';
import { type Body, type Define, everyLane, type TypeOf, type VectorType } from './vector-type.js';
import { type Builtins, gccWith, withBuiltin } from './vector-ways.js';

export const SIMD_SWITCH = `#if !defined(HEDDLE_SIMD)
#define HEDDLE_SIMD @GNU_C /* vector types of gcc and clang, or structs of lanes */
#endif
#if HEDDLE_SIMD
#define LANE(v, i) ((v)[i])
#define ON_LANES static inline __attribute__((always_inline))
#define EACH_LANE
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif
#else
#define LANE(v, i) ((v).lane[i])
#define ON_LANES static inline
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 8
#define EACH_LANE _Pragma("GCC unroll 1") /* loops become vectors; lanes on their own would not */
#else
#define EACH_LANE
#endif
#endif`;

/** What x86 has registers for vectors of so many bytes with. */
const X86_OF_BYTES: Readonly<Record<number, string>> = { 16: '__SSE2__', 32: '__AVX__', 64: '__AVX512F__' };

/** gcc loads a vector again for each use, as an operand in memory saves an instruction; of what is used often, loads are
 *  then more than a processor does at a time. */
const heldText = (v: VectorType, feature: string): string => `ON_LANES @${v.name} held_${v.name}(@${v.name} a) {
#if HEDDLE_SIMD && defined(${feature}) && !defined(__clang__)
  __asm__("" : "+v"(a)); /* not what memory holds, to the compiler */
#endif
  return a;
}`;

const laneBytes = (t: VectorType): number => DTYPE_INFO[t.lane].bytes;

/** Cells that add what they use to `helpers`; `scalar` gives the language's scalar cells; `strict` as in functions.ts. */
export function createVectorCells(helpers: Map<string, string>, scalar: () => Lang, strict: boolean): VectorCells {
  const define: Define = (name, text) => {
    if (!helpers.has(name)) helpers.set(name, text);
  };
  define('LANE', SIMD_SWITCH);
  const type: TypeOf = (t, lanes) => defineType(define, t, lanes);
  const f = (name: string, v: VectorType, args: string, body: Body): string => {
    define(name, functionText(name, v, args, body));
    return name;
  };

  return {
    op: (op, t, lanes) => {
      const v = type(t, lanes);
      const result = ['eq', 'lt', 'le'].includes(op) ? type('i1', lanes) : v;
      const name = `${op}_${v.name}`;
      const unary = ['neg', 'abs', 'floor', 'ceil', 'trunc', 'rint', 'sqrt', 'clz', 'popcnt'].includes(op);
      const args = unary ? `@${v.name} a` : `@${v.name} a, @${v.name} b`;
      const lane = laneOp(op, t, v, result, scalar());
      if (op === 'mulhi_s' && v.name.startsWith('i32x')) define(name, highProduct(name, v, type, lane, define));
      else f(name, result, args, { simd: simdOp(op, v, strict), lane });
      return unary ? `@${name}($0)` : `@${name}($0, $1)`;
    },
    // Processors without a shift of its own for each lane have one for all.
    shift: (op, t, lanes) => {
      const v = type(t, lanes);
      const lane = put((scalar().ops as CellLookup)[op]?.[computeType(t)] ?? '$0', '@LANE(a, i)', 'n');
      f(`${op}_all_${v.name}`, v, `@${v.name} a, ${C_TYPES[v.lane]} n`, { simd: simdShift(op, v, 'n'), lane });
      return `@${op}_all_${v.name}($0, $1)`;
    },
    cast: (from, to, lanes) => {
      const [a, r] = [type(from, lanes), type(to, lanes)];
      const name = `${r.name}_from_${a.name}`;
      f(name, r, `@${a.name} a`, { simd: simdCast(a, r), lane: laneCast(from, to, scalar()) });
      return `@${name}($0)`;
    },
    bitcast: (from, to, lanes) => {
      const [a, r] = [type(from, lanes), type(to, lanes)];
      const cell = scalar().bitcast(from as never, to as never);
      f(`bits_${r.name}_from_${a.name}`, r, `@${a.name} a`, {
        simd: `return (@${r.name})a;`,
        lane: put(cell, '@LANE(a, i)'),
      });
      return `@bits_${r.name}_from_${a.name}($0)`;
    },
    select: (t, lanes) => {
      const [v, m] = [type(t, lanes), type('i1', lanes)];
      f(`select_${v.name}`, v, `@${m.name} m, @${v.name} a, @${v.name} b`, {
        simd: laneBytes(v) === 4 ? `return (@${v.name})((m & (@${m.name})a) | (~m & (@${m.name})b));` : undefined,
        lane: '@LANE(m, i) ? @LANE(a, i) : @LANE(b, i)',
      });
      return `@select_${v.name}($0, $1, $2)`;
    },
    extremum: (op, t, lanes) => {
      const [v, m] = [type(t, lanes), type('i1', lanes)];
      const test = op === 'min' ? 'b < a' : 'a < b';
      const choice = `(@${v.name})((m & (@${m.name})b) | (~m & (@${m.name})a))`;
      const otherwise = [`const @${m.name} m = ${test};`, ...returns(choice)];
      f(`p${op}_${v.name}`, v, `@${v.name} a, @${v.name} b`, {
        simd: laneBytes(v) === 4 ? withBuiltin(floatExtremum(op), lanes, returns, otherwise) : undefined,
        lane: `@LANE(b, i) ${op === 'min' ? '<' : '>'} @LANE(a, i) ? @LANE(b, i) : @LANE(a, i)`,
      });
      return `@p${op}_${v.name}($0, $1)`;
    },
    splat: (t, lanes) => {
      const v = type(t, lanes);
      const every = Array.from({ length: lanes }, () => 'x').join(', ');
      const simd = `return (@${v.name}){${every}};`;
      if (v.isMask) f(`splat_${v.name}`, v, 'int x', { simd: undefined, lane: '-x' });
      else f(`splat_${v.name}`, v, `${C_TYPES[v.lane]} x`, { simd, lane: 'x' });
      return `@splat_${v.name}($0)`;
    },
    repeat: (t, group, lanes) => {
      const [v, g] = [type(t, lanes), type(t, group)];
      f(`repeat_${v.name}_${g.name}`, v, `@${g.name} x`, repeatBody(v, g, type));
      return `@repeat_${v.name}_${g.name}($0)`;
    },
    dot: (a, b, lanes) => defineDot({ define, type, a, b, lanes }),
    zip: (t, lanes, half) => {
      const v = type(t, lanes);
      const lane = `i % 2 ? @LANE(b, ${(half * lanes) / 2} + i / 2) : @LANE(a, ${(half * lanes) / 2} + i / 2)`;
      f(`zip${half}_${v.name}`, v, `@${v.name} a, @${v.name} b`, { simd: simdZip(v, half), lane });
      return `@zip${half}_${v.name}($0, $1)`;
    },
    evens: (t, lanes) => {
      const v = type(t, lanes);
      const lane = `i < ${lanes / 2} ? @LANE(a, 2 * i) : @LANE(b, 2 * i - ${lanes - 1})`;
      f(`evens_${v.name}`, v, `@${v.name} a, @${v.name} b`, {
        simd: laneBytes(v) === 4 ? simdEvens(type('i32', lanes)) : undefined,
        lane,
      });
      return `@evens_${v.name}($0, $1)`;
    },
    extract: (t, lanes, lane) => {
      const v = type(t, lanes);
      return v.isMask ? `@LANE($0, ${lane}) != 0` : `@LANE($0, ${lane})`;
    },
    iota: (t, lanes) => {
      const v = type(t, lanes);
      f(`iota_${v.name}`, v, `${C_TYPES[v.lane]} first`, {
        simd: undefined,
        lane: narrow(v.lane, `first + (${C_TYPES[v.lane]})i`),
      });
      return `@iota_${v.name}($0)`;
    },
    load: (from, to, lanes, { gather, masked }) => {
      const v = type(to, lanes);
      const name = `${gather ? 'gather' : 'load'}${masked ? '_masked' : ''}_${from === v.lane ? '' : `${from}_`}${v.name}`;
      const at = gather ? '@LANE(at, i)' : 'i';
      const args = [
        `const ${C_TYPES[from]} *p`,
        ...(gather ? [`@${type('i32', lanes).name} at`] : []),
        ...(masked ? [`@${type('i1', lanes).name} m, @${v.name} pad`] : []),
      ];
      f(name, v, args.join(', '), {
        simd: gather || masked ? undefined : simdLoad(type(from, lanes), v, { type, define }),
        lane: masked ? `@LANE(m, i) ? p[${at}] : @LANE(pad, i)` : `p[${at}]`,
      });
      return gather ? `@${name}($0, $1${masked ? ', $2, $3' : ''})` : `@${name}($0 + $1${masked ? ', $2, $3' : ''})`;
    },
    hold: (t, lanes) => {
      const v = type(t, lanes);
      const feature = X86_OF_BYTES[laneBytes(v) * lanes];
      if (!feature) return '$0';
      define(`held_${v.name}`, heldText(v, feature));
      return `@held_${v.name}($0)`;
    },
    loadHalves: (lanes) => {
      const [v, wide] = [type('f32', lanes), type('i32', lanes)];
      const loadWide = `load_i16_${wide.name}`;
      const lane = 'p[i]';
      f(loadWide, wide, `const ${C_TYPES.i16} *p`, {
        simd: simdLoad(type('i16', lanes), wide, { type, define }),
        lane,
      });
      const name = `load_halves_${v.name}`;
      f(name, v, `const ${C_TYPES.i16} *p`, halvesBody(v, loadWide, type));
      return `@${name}($0 + $1)`;
    },
    store: (from, into, lanes) => {
      const [v, w] = [type(from, lanes), type(into, lanes)];
      const name = `store_${v.lane === into ? '' : `${into}_`}${v.name}`;
      const lanewise = `${eachLane(name)}  for (int i = 0; i < ${lanes}; ++i) p[i] = ${narrow(into, '@LANE(v, i)')};`;
      define(
        name,
        `ON_LANES void ${name}(${C_TYPES[into]} *p, @${v.name} v) {\n#if HEDDLE_SIMD\n` +
          `${indented(simdStore(v, w, { type, define }))}\n#else\n${lanewise}\n#endif\n}`,
      );
      return `@${name}($0 + $1, $2)`;
    },
  };
}

function defineType(define: Define, t: DType, lanes: number): VectorType {
  const isMask = t === 'i1';
  const lane: StoredType = isMask ? 'i32' : (STORED.find((s) => s === t) ?? 'i32');
  const name = `${t}x${lanes}`;
  const bytes = DTYPE_INFO[lane].bytes * lanes;
  const typedef = (element: StoredType, typeName: string): void =>
    define(
      typeName,
      `#if HEDDLE_SIMD /* @LANE */\ntypedef ${C_TYPES[element]} ${typeName} __attribute__((vector_size(${bytes})));\n#else\n` +
        `typedef struct {\n  ${C_TYPES[element]} lane[${lanes}];\n} ${typeName};\n#endif`,
    );
  typedef(lane, name);
  // Operations pass through the type of the same width and the other signedness.
  if (!isFloat(lane) && !isMask) {
    const other = (lane.startsWith('u') ? `i${lane.slice(1)}` : `u${lane.slice(1)}`) as StoredType;
    typedef(other, `${other}x${lanes}`);
  }
  if (isFloat(lane)) defineType(define, lane === 'f32' ? 'i32' : 'i64', lanes);
  return { name, lanes, lane, isMask };
}

/** Loops of floats become vectors one by one. Integers are often narrow in memory, where four make no vector: their lanes
 *  apart are found by compilers together, many at a time. Differences and shifts make exponents, so they go with floats. */
const eachLane = (name: string): string => (/f32|f64|^sub_|^shl_/.test(name) ? '  EACH_LANE\n' : '');

function functionText(name: string, v: VectorType, args: string, body: Body): string {
  const loop = `  @${v.name} r;\n${eachLane(name)}  for (int i = 0; i < ${v.lanes}; ++i) @LANE(r, i) = ${body.lane};\n  return r;`;
  const whole = body.simd ? `#if HEDDLE_SIMD\n${indented(body.simd)}\n#else\n${loop}\n#endif` : loop;
  return `ON_LANES @${v.name} ${name}(${args}) {\n${whole}\n}`;
}

const indented = (text: string): string => (/^(#| {2})/.test(text) ? text : `  ${text}`);

/** A scalar cell with these operands; helper marks stay. */
const put = (cell: string, ...args: string[]): string => {
  const marked = cell.replace(/@(\w+)/g, 'HELPER_$1');
  return fill(marked, args.map(atom), () => undefined).text.replace(/HELPER_(\w+)/g, '@$1');
};

const narrow = (t: StoredType, text: string): string =>
  ['i8', 'u8', 'i16', 'u16'].includes(t) ? `(${C_TYPES[t]})(${text})` : text;

function laneOp(op: PrimitiveOp, t: DType, v: VectorType, result: VectorType, lang: Lang): string {
  const at = t === 'i32' || !['i8', 'u8', 'i16', 'u16'].includes(t) ? computeType(t) : 'i32';
  const cell = (lang.ops as CellLookup)[op]?.[at] ?? '$0';
  const text = put(cell, '@LANE(a, i)', '@LANE(b, i)');
  if (v.isMask && op !== 'eq') return text;
  return result.isMask ? `-(${text})` : narrow(v.lane, text);
}

function laneCast(from: DType, to: DType, lang: Lang): string {
  const value = '@LANE(a, i)';
  if (from === 'i1') return to === 'f32' || to === 'f64' ? `${value} ? 1 : 0` : `${value} ? 1u : 0u`;
  if (to === 'i1') return `-(${value} != 0)`;
  if (isFloat(from) || isFloat(to)) return put(lang.cast(computeType(from), computeType(to)), value);
  return `(${C_TYPES[to as StoredType]})${value}`;
}

function simdOp(op: PrimitiveOp, v: VectorType, strict: boolean): string | undefined {
  const unsigned = `@u${DTYPE_INFO[v.lane].bits}x${v.lanes}`;
  const signed = `@i${DTYPE_INFO[v.lane].bits}x${v.lanes}`;
  const sign = { add: '+', sub: '-', mul: '*', div: '/', and: '&', or: '|', xor: '^', eq: '==', lt: '<', le: '<=' }[
    op as string
  ];
  if (v.isMask) return sign && 'and or xor eq'.includes(op) ? `return a ${sign} b;` : undefined;
  const float = isFloat(v.lane);
  if (['eq', 'lt', 'le'].includes(op)) return laneBytes(v) === 4 ? `return a ${sign} b;` : undefined;
  if (['and', 'or', 'xor'].includes(op)) return `return a ${sign} b;`;
  if (['add', 'sub', 'mul'].includes(op)) {
    return float ? `return a ${sign} b;` : `return (@${v.name})((${unsigned})a ${sign} (${unsigned})b);`;
  }
  if (op === 'div') return float ? 'return a / b;' : undefined;
  if (op === 'neg') return float ? 'return -a;' : `return (@${v.name})(-(${unsigned})a);`;
  if (op === 'abs' && v.lane === 'f32') return `return (@${v.name})((${signed})a & INT32_MAX);`;
  const isChoice = op === 'min' || op === 'max';
  if (isChoice) return float && strict ? undefined : simdExtremum(op, v);
  if (float) return v.lane === 'f32' ? floatLanes(op, v.lanes) : undefined;
  if (op === 'shl' || op === 'shr_u' || op === 'shr_s') return simdShift(op, v, 'b');
  return undefined;
}

/** By each lane of b, or by `n` in all. */
const simdEvens = (v: VectorType): string =>
  shuffle(
    v,
    Array.from({ length: v.lanes }, (_, i) => (i < v.lanes / 2 ? 2 * i : 2 * i + 1)),
  );

const simdZip = (v: VectorType, half: number): string =>
  shuffle(
    v,
    Array.from({ length: v.lanes }, (_, i) => (half * v.lanes + i - (i % 2)) / 2 + (i % 2 ? v.lanes : 0)),
  );

/** Lanes of two vectors of integers in an order. */
function shuffle({ name }: VectorType, lanes: readonly number[]): string {
  const order = lanes.join(', ');
  return [
    '#if defined(__clang__)',
    `  return __builtin_shufflevector(a, b, ${order});`,
    '#else',
    `  return __builtin_shuffle(a, b, (@${name}){${order}});`,
    '#endif',
  ].join('\n');
}

function simdShift(op: Shift, v: VectorType, by: 'b' | 'n'): string {
  const { bits } = DTYPE_INFO[v.lane];
  const sign = op === 'shr_s' ? 'i' : 'u';
  const one = C_TYPES[`${sign}${bits}` as StoredType];
  const ones = `@${sign}${bits}x${v.lanes}`;
  const count = by === 'n' ? `(${one})(n & ${bits - 1})` : `((${ones})b & (${one})${bits - 1})`;
  return `return (@${v.name})((${ones})a ${op === 'shl' ? '<<' : '>>'} ${count});`;
}

/** NaN if either is, as the scalar helpers of the fast mode; zeros of both signs are equal. */
function simdExtremum(op: PrimitiveOp, v: VectorType): string | undefined {
  if ((op !== 'min' && op !== 'max') || laneBytes(v) !== 4) return undefined;
  const m = `@i32x${v.lanes}`;
  const test = `a ${op === 'min' ? '<' : '>'} b`;
  const mask = isFloat(v.lane) ? `(${test}) | (a != a)` : test;
  const choice = [`const ${m} m = ${mask};`, ...returns(`(@${v.name})((m & (${m})a) | (~m & (${m})b))`)];
  return withBuiltin(isFloat(v.lane) ? {} : integerExtremum(op, v), v.lanes, returns, choice);
}

/** x86 has the choice as one instruction of its second and first operand; compilers see it in none of the vector forms. */
const floatExtremum = (op: 'min' | 'max'): Builtins => ({
  4: ['defined(__SSE__)', `__builtin_ia32_${op}ps(b, a)`],
  8: ['defined(__AVX__)', `__builtin_ia32_${op}ps256(b, a)`],
  16: [gccWith('__AVX512F__'), `__builtin_ia32_${op}ps512_mask(b, a, a, -1, 4)`],
});

/** Of integers, gcc makes a comparison and a choice. */
function integerExtremum(op: 'min' | 'max', v: VectorType): Builtins {
  const name = `__builtin_ia32_p${op}${v.lane.startsWith('u') ? 'u' : 's'}d`;
  const signed = `@i32x${v.lanes}`;
  const args = `(${signed})a, (${signed})b`;
  return {
    4: [gccWith('__SSE4_1__'), `(@${v.name})${name}128(${args})`],
    8: [gccWith('__AVX2__'), `(@${v.name})${name}256(${args})`],
    16: [gccWith('__AVX512F__'), `(@${v.name})${name}512_mask(${args}, (${signed}){0}, ${everyLane(16)})`],
  };
}

const returns = (value: string): readonly string[] => [`return ${value};`];

function simdCast(a: VectorType, r: VectorType): string | undefined {
  if (a.isMask) return r.lane === 'i32' || r.lane === 'u32' ? `return (@${r.name})(a & 1);` : undefined;
  if (a.lane === 'f32' && r.lane === 'i32') return r.isMask ? undefined : integersFrom(a.lanes);
  if (r.isMask || (isFloat(a.lane) && !isFloat(r.lane))) return undefined;
  return `return __builtin_convertvector(a, @${r.name});`;
}
