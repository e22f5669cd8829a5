// Sigmoid and tanh of 16-bit fixed point by linear interpolation in one table, as the TFLite reference kernels define them.
// Inputs come at 3·2^12 steps a unit, so that the table's 256 entries of 512 steps reach 10.7; results are Q0.15.

import type { Builder, Read } from '../../../ir/builder.js';
import { e } from '../../../ir/expr.js';
import type { Expr } from '../../../ir/scalar.js';
import type { Value } from '../../../ir/tensor.js';
import { integerTable } from './tables.js';

/** How a stored value becomes a table position: (x·factor + half) >> shift. */
export interface TableInput {
  readonly factor: number;
  readonly shift: number;
}

/** Power-of-two scales from 2^-12 up to 2^(mostShift-12) are exact; others get the largest factor below 2^15. */
export function tableInput(scale: number, mostShift: number): TableInput {
  const power = Math.round(Math.log2(scale));
  const exact = Math.abs(Math.log2(scale) - power) < 1e-3;
  if (exact && power + 12 >= 0 && power + 12 <= mostShift) return { factor: 3 * 2 ** (power + 12), shift: 0 };
  let factor = scale * 4096 * 3;
  let shift = 0;
  while (factor <= 32767 / 2 && shift <= 30) {
    factor *= 2;
    shift += 1;
  }
  return { factor: Math.trunc(factor), shift };
}

export const onTable = (x: Expr, { factor, shift }: TableInput): Expr =>
  shift === 0 ? e.mul(x, factor) : e.shrS(e.add(e.mul(x, factor), 2 ** (shift - 1)), shift);

export const sigmoidTable = (b: Builder): Value => integerTable(b, 'u16', SIGMOID);

/** Interpolated table at |position|, scaled by 2^bits; `most` from the last entry on. */
function interpolate(read: Read, table: Value, position: Expr, bits: number, most: number): Expr {
  const size = e.abs(position);
  const entry = e.shrS(size, bits);
  const inside = e.min(entry, 254);
  const at = (i: Expr): Expr => e.cast(read(table, [i]), 'i32');
  const low = at(inside);
  const step = e.mul(e.and(size, 2 ** bits - 1), e.sub(at(e.add(inside, 1)), low));
  return e.select(e.ge(entry, 255), most, e.add(e.shl(low, bits), step));
}

export function sigmoid16(read: Read, table: Value, position: Expr): Expr {
  const upper = interpolate(read, table, position, 9, 0x7fff * 2 ** 10);
  return e.shrS(e.select(e.ge(position, 0), e.add(upper, 2 ** 9), e.sub(2 ** 25 + 2 ** 9 - 1, upper)), 10);
}

/** 2·sigmoid(2x) − 1. */
export function tanh16(read: Read, table: Value, position: Expr): Expr {
  const upper = interpolate(read, table, position, 8, 0xffff * 2 ** 8);
  return e.shrS(e.select(e.ge(position, 0), e.add(upper, 2 ** 7 - 2 ** 23), e.sub(2 ** 23 + 2 ** 7 - 1, upper)), 8);
}

/** The published table of round(2^16·sigmoid(i/24)), some entries one up to lessen the error of interpolation. */
const SIGMOID = [
  32768, 33451, 34133, 34813, 35493, 36169, 36843, 37513, 38180, 38841, 39498, 40149, 40794, 41432, 42064, 42688, 43304,
  43912, 44511, 45102, 45683, 46255, 46817, 47369, 47911, 48443, 48964, 49475, 49975, 50464, 50942, 51409, 51865, 52311,
  52745, 53169, 53581, 53983, 54374, 54755, 55125, 55485, 55834, 56174, 56503, 56823, 57133, 57433, 57724, 58007, 58280,
  58544, 58800, 59048, 59288, 59519, 59743, 59959, 60168, 60370, 60565, 60753, 60935, 61110, 61279, 61441, 61599, 61750,
  61896, 62036, 62172, 62302, 62428, 62549, 62666, 62778, 62886, 62990, 63090, 63186, 63279, 63368, 63454, 63536, 63615,
  63691, 63765, 63835, 63903, 63968, 64030, 64090, 64148, 64204, 64257, 64308, 64357, 64405, 64450, 64494, 64536, 64576,
  64614, 64652, 64687, 64721, 64754, 64786, 64816, 64845, 64873, 64900, 64926, 64950, 64974, 64997, 65019, 65039, 65060,
  65079, 65097, 65115, 65132, 65149, 65164, 65179, 65194, 65208, 65221, 65234, 65246, 65258, 65269, 65280, 65291, 65301,
  65310, 65319, 65328, 65337, 65345, 65352, 65360, 65367, 65374, 65381, 65387, 65393, 65399, 65404, 65410, 65415, 65420,
  65425, 65429, 65433, 65438, 65442, 65445, 65449, 65453, 65456, 65459, 65462, 65465, 65468, 65471, 65474, 65476, 65479,
  65481, 65483, 65485, 65488, 65489, 65491, 65493, 65495, 65497, 65498, 65500, 65501, 65503, 65504, 65505, 65507, 65508,
  65509, 65510, 65511, 65512, 65513, 65514, 65515, 65516, 65517, 65517, 65518, 65519, 65520, 65520, 65521, 65522, 65522,
  65523, 65523, 65524, 65524, 65525, 65525, 65526, 65526, 65526, 65527, 65527, 65528, 65528, 65528, 65529, 65529, 65529,
  65529, 65530, 65530, 65530, 65530, 65531, 65531, 65531, 65531, 65531, 65532, 65532, 65532, 65532, 65532, 65532, 65533,
  65533, 65533, 65533, 65533, 65533, 65533, 65533, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534,
  65535,
];
