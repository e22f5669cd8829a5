// C's texts for loads and stores that convert, with vector types: compilers turn the one conversion they have for all types
// into good instructions only by certain ways. gcc widens and narrows halves of a register, in two to ten instructions where
// x86 has one or two; for these its builtins stand in as far as the compiler's flags allow.

import { DTYPE_INFO, isFloat } from '../../support/dtype.js';
import { C_TYPES } from './lang.js';
import { type Define, everyLane, type TypeOf, type VectorType } from './vector-type.js';
import { choose, gccWith, NOT_CLANG, type Way } from './vector-ways.js';

/** What a text of this file may use besides its operands. */
export interface Converting {
  readonly type: TypeOf;
  readonly define: Define;
}

const laneBytes = (t: VectorType): number => DTYPE_INFO[t.lane].bytes;
const bytesOf = (t: VectorType): number => laneBytes(t) * t.lanes;

/** The body of a load of `from` lanes at `p` as `to` lanes. */
export function simdLoad(from: VectorType, to: VectorType, c: Converting): string {
  const isFour = laneBytes(from) === 1 && to.lane === 'i32' && to.lanes === 4;
  const ways = [...wideningWays(from, to, c), ...(isFour ? [widenFourBytes(from.lane === 'i8', c)] : [])];
  return choose(ways, [
    `@${from.name} r;`,
    '__builtin_memcpy(&r, p, sizeof r);',
    `return ${convert('r', from, to, c)};`,
  ]);
}

/** The body of a store of `v`, of type `from`, as `to` lanes at `p`. */
export function simdStore(from: VectorType, to: VectorType, c: Converting): string {
  return choose(narrowingWays(from, to, c), [
    `const @${to.name} r = ${convert('v', from, to, c)};`,
    '__builtin_memcpy(p, &r, sizeof r);',
  ]);
}

/** Letters of x86 for integers of so many bytes. */
const LETTER: Readonly<Record<number, string>> = { 1: 'b', 2: 'w', 4: 'd' };

/** The vector type of so many bytes that gcc's builtins take, with lanes of `lane` bytes: of one byte it is of plain chars. */
function builtinType(lane: number, bytes: number, { type, define }: Converting): string {
  if (lane !== 1) return type(lane === 2 ? 'i16' : 'i32', bytes / lane).name;
  const name = `charx${bytes}`;
  define(name, `#if HEDDLE_SIMD /* @LANE */\ntypedef char ${name} __attribute__((vector_size(${bytes})));\n#endif`);
  return name;
}

/** One instruction that widens the lanes of a register. */
function wideningWays(from: VectorType, to: VectorType, c: Converting): readonly Way[] {
  const [narrow, wide, bytes] = [laneBytes(from), laneBytes(to), bytesOf(to)];
  const sets: Readonly<Record<number, string>> = { 16: 'SSE4_1', 32: 'AVX2', 64: wide === 2 ? 'AVX512BW' : 'AVX512F' };
  const set = sets[bytes];
  if (!set || narrow >= wide || wide > 4 || isFloat(to.lane)) return [];
  const [source, result] = [builtinType(narrow, Math.max(16, bytesOf(from)), c), builtinType(wide, bytes, c)];
  const name = `__builtin_ia32_pmov${from.lane.startsWith('u') ? 'z' : 's'}x${LETTER[narrow]}${LETTER[wide]}${8 * bytes}`;
  const value = bytes === 64 ? `${name}_mask(r, (@${result}){0}, ${everyLane(to.lanes)})` : `${name}(r)`;
  return [{ test: gccWith(`__${set}__`), text: [...fill(source, bytesOf(from), c), `return (@${to.name})${value};`] }];
}

/** Declares `r` of a type that builtins take, its first bytes from `p`: by way of one integer where they do not fill it. */
function fill(type: string, bytes: number, c: Converting): readonly string[] {
  if (bytes >= 16) return [`@${type} r;`, '__builtin_memcpy(&r, p, sizeof r);'];
  const one = bytes === 4 ? 'i32' : 'i64';
  const whole = c.type(one, 16 / bytes).name;
  return [
    `${C_TYPES[one]} first;`,
    '__builtin_memcpy(&first, p, sizeof first);',
    `const @${type} r = (@${type})(@${whole}){first};`,
  ];
}

/** The low parts of a register's lanes, brought together and stored. */
function narrowingWays(from: VectorType, to: VectorType, c: Converting): readonly Way[] {
  const [wide, narrow, bytes] = [laneBytes(from), laneBytes(to), bytesOf(from)];
  if (narrow >= wide || wide > 4 || isFloat(from.lane) || isFloat(to.lane)) return [];
  const way = (test: string, type: string, value: string): Way => ({
    test,
    text: [`const @${type} r = (@${type})${value};`, `__builtin_memcpy(p, &r, ${bytesOf(to)});`],
  });
  const result = builtinType(narrow, Math.max(16, bytesOf(to)), c);
  const set = `__AVX512${wide === 2 ? 'BW' : 'F'}__`;
  const name = `__builtin_ia32_pmov${LETTER[wide]}${LETTER[narrow]}${8 * bytes}_mask`;
  const cut = `${name}((@${builtinType(wide, bytes, c)})v, (@${result}){0}, ${everyLane(from.lanes)})`;
  switch (bytes) {
    case 64:
      return [way(gccWith(set), result, cut)];
    case 32: {
      const joined = c.type(wide / narrow === 4 ? 'i32' : 'i64', wide / narrow === 4 ? 8 : 4);
      const halves = Array.from({ length: joined.lanes }, (_, k) => (k % 2) * (joined.lanes / 2)).join(', ');
      const value = `__builtin_shuffle((@${joined.name})${gathered(from, narrow, c)}, (@${joined.name}){${halves}})`;
      return [
        way(`defined(${set}) && ${gccWith('__AVX512VL__')}`, result, cut),
        way(gccWith('__AVX2__'), joined.name, value),
      ];
    }
    case 16:
      return [
        way(`defined(${set}) && ${gccWith('__AVX512VL__')}`, result, cut),
        way(gccWith('__SSSE3__'), result, gathered(from, narrow, c)),
        way(gccWith('__SSE2__'), result, packed(from, narrow, c)),
      ];
    default:
      return [];
  }
}

/** The low `narrow` bytes of each lane, at the beginning of each sixteen bytes. */
function gathered(from: VectorType, narrow: number, c: Converting): string {
  const [wide, bytes] = [laneBytes(from), bytesOf(from)];
  const chars = builtinType(1, bytes, c);
  const order = Array.from({ length: bytes }, (_, k) => {
    const at = k % 16;
    return at < (16 * narrow) / wide ? at + (wide - narrow) * Math.floor(at / narrow) : -1;
  });
  return `__builtin_ia32_pshufb${8 * bytes}((@${chars})v, (@${chars}){${order.join(', ')}})`;
}

/** By instructions that saturate, of lanes that are in range. */
function packed(from: VectorType, narrow: number, c: Converting): string {
  const [words, halves] = [c.type('i32', 4).name, c.type('i16', 8).name];
  const pack = (name: string, x: string): string => `__builtin_ia32_${name}128(${x}, ${x})`;
  if (laneBytes(from) === 2) return pack('packuswb', `(@${halves})v & 255`);
  if (narrow === 2) return pack('packssdw', `(@${words})((@${c.type('u32', 4).name})v << 16) >> 16`);
  return pack('packuswb', pack('packssdw', `(@${words})v & 255`));
}

/** Between bytes and words by way of halves: in one go gcc converts lane by lane. */
function convert(x: string, from: VectorType, to: VectorType, { type }: Converting): string {
  if (from.lane === to.lane) return x;
  const [wide, narrow] = laneBytes(from) > laneBytes(to) ? [from, to] : [to, from];
  if (laneBytes(wide) !== 4 || laneBytes(narrow) !== 1 || isFloat(wide.lane))
    return `__builtin_convertvector(${x}, @${to.name})`;
  const half = type(narrow.lane === 'i8' ? 'i16' : 'u16', to.lanes);
  return `__builtin_convertvector(__builtin_convertvector(${x}, @${half.name}), @${to.name})`;
}

/** gcc widens four bytes one at a time unless told to interleave them with zeros; signs come from the top byte. */
function widenFourBytes(signed: boolean, { type }: Converting): Way {
  const [bytes, halves, words] = [type('u8', 16).name, type('u16', 8).name, type('i32', 4).name];
  const interleave = (t: string, n: number, x: string): string => {
    const order = Array.from({ length: n }, (_, k) => (k % 2) * n + Math.floor(k / 2));
    return `__builtin_shuffle(${signed ? `(@${t})z, ${x}` : `${x}, (@${t})z`}, (@${t}){${order.join(', ')}})`;
  };
  return {
    test: `__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && ${NOT_CLANG}`,
    text: [
      'int32_t four;',
      '__builtin_memcpy(&four, p, sizeof four);',
      `const @${bytes} z = {0};`,
      `const @${bytes} b = (@${bytes})(@${words}){four, 0, 0, 0};`,
      `const @${halves} h = (@${halves})${interleave(bytes, 16, 'b')};`,
      `return (@${words})${interleave(halves, 8, 'h')}${signed ? ' >> 24' : ''};`,
    ],
  };
}
