// C's texts for loads that convert, with vector types: compilers turn the one conversion they have for all types into
// good instructions only by certain ways.

import { type DType, DTYPE_INFO, isFloat } from '../../support/dtype.js';
import type { VectorType } from './vector-type.js';

const laneBytes = (t: VectorType): number => DTYPE_INFO[t.lane].bytes;

export function simdLoad(from: VectorType, to: VectorType, type: (t: DType, lanes: number) => VectorType): string {
  const plain = `@${from.name} r;\n  __builtin_memcpy(&r, p, sizeof r);\n  return ${convert('r', from, to, type)};`;
  const bytes = (from.lane === 'u8' || from.lane === 'i8') && to.lane === 'i32' && to.lanes === 4;
  return bytes ? widenFourBytes(from.lane === 'i8', plain, type) : plain;
}

/** Between bytes and words by way of halves: in one go gcc converts lane by lane. */
export function convert(
  x: string,
  from: VectorType,
  to: VectorType,
  type: (t: DType, lanes: number) => VectorType,
): string {
  if (from.lane === to.lane) return x;
  const [wide, narrow] = laneBytes(from) > laneBytes(to) ? [from, to] : [to, from];
  if (laneBytes(wide) !== 4 || laneBytes(narrow) !== 1 || isFloat(wide.lane))
    return `__builtin_convertvector(${x}, @${to.name})`;
  const half = type(narrow.lane === 'i8' ? 'i16' : 'u16', to.lanes);
  return `__builtin_convertvector(__builtin_convertvector(${x}, @${half.name}), @${to.name})`;
}

/** gcc widens four bytes one at a time unless told to interleave them with zeros; signs come from the top byte. */
function widenFourBytes(signed: boolean, plain: string, type: (t: DType, lanes: number) => VectorType): string {
  const [bytes, halves, words] = [type('u8', 16).name, type('u16', 8).name, type('i32', 4).name];
  const interleave = (t: string, n: number, x: string): string => {
    const order = Array.from({ length: n }, (_, k) => (k % 2) * n + Math.floor(k / 2));
    return `__builtin_shuffle(${signed ? `(@${t})z, ${x}` : `${x}, (@${t})z`}, (@${t}){${order.join(', ')}})`;
  };
  return [
    '#if !defined(__clang__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__',
    '  int32_t four;',
    '  __builtin_memcpy(&four, p, sizeof four);',
    `  const @${bytes} z = {0};`,
    `  const @${bytes} b = (@${bytes})(@${words}){four, 0, 0, 0};`,
    `  const @${halves} h = (@${halves})${interleave(bytes, 16, 'b')};`,
    `  return (@${words})${interleave(halves, 8, 'h')}${signed ? ' >> 24' : ''};`,
    '#else',
    `  ${plain}`,
    '#endif',
  ].join('\n');
}
