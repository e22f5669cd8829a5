// Numbers as text and text as numbers, for conversions that a host makes. A number is written with the fewest digits that
// read back as the same value of its own type.

import type { Builder } from '../../ir/builder.js';
import type { HostCall } from '../../ir/program.js';
import type { Value } from '../../ir/tensor.js';
import { DTYPE_INFO, type DType, isFloat } from '../../support/dtype.js';
import { fromNumbers, type Tensor, toNumbers } from '../../support/tensor.js';
import { stringsOf, text } from './strings.js';

const SPECIAL: Readonly<Record<string, number>> = {
  nan: Number.NaN,
  inf: Number.POSITIVE_INFINITY,
  '+inf': Number.POSITIVE_INFINITY,
  '-inf': Number.NEGATIVE_INFINITY,
  infinity: Number.POSITIVE_INFINITY,
};

/** The nearest value of a floating-point type. */
const nearest = (dtype: DType, x: number): number =>
  dtype === 'f64' ? x : (toNumbers(fromNumbers(dtype, [1], [x]))[0] as number);

/** 0.1, 1.0, 1e-05: plain between 1e-4 and 1e16, else with an exponent of two digits. */
function formatFloat(x: number, dtype: DType): string {
  if (!Number.isFinite(x)) return Number.isNaN(x) ? 'nan' : x > 0 ? 'inf' : '-inf';
  if (Object.is(x, -0)) return '-0.0';
  let short = x;
  for (let digits = 1; digits <= 17; digits++) {
    short = Number(x.toPrecision(digits));
    if (nearest(dtype, short) === x) break;
  }
  const size = Math.abs(short);
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) {
    const [mantissa = '', exponent = ''] = short.toExponential().split('e');
    return `${mantissa}e${exponent[0]}${exponent.slice(1).padStart(2, '0')}`;
  }
  const plain = String(short);
  return plain.includes('.') ? plain : `${plain}.0`;
}

const toText: HostCall = ([t]) => {
  const { dtype, shape, data } = t as Tensor;
  if (!isFloat(dtype)) return [text(shape, Array.from(data as ArrayLike<unknown>, String))];
  return [
    text(
      shape,
      Array.from(toNumbers(t as Tensor), (x) => formatFloat(x, dtype)),
    ),
  ];
};

const readFloat = (s: string): number => SPECIAL[s.trim().toLowerCase()] ?? Number(s);

/** Text that is no integer reads as the integer before its point. */
const readInteger = (s: string): bigint => {
  const whole = /^\s*[+-]?\d+/.exec(s)?.[0];
  if (whole && !/[eE]/.test(s)) return BigInt(whole.trim().replace('+', ''));
  const x = Math.trunc(readFloat(s));
  return Number.isFinite(x) ? BigInt(x) : 0n;
};

const toNumbersOf =
  (dtype: DType): HostCall =>
  ([t]) => {
    const { shape } = t as Tensor;
    const strings = stringsOf(t as Tensor);
    return [
      fromNumbers(
        dtype,
        shape,
        isFloat(dtype) ? strings.map(readFloat) : strings.map((s) => wrap(readInteger(s), dtype)),
      ),
    ];
  };

const wrap = (x: bigint, dtype: DType): bigint => {
  if (dtype === 'i1') return x === 0n ? 0n : 1n;
  const { bits, kind } = DTYPE_INFO[dtype];
  return kind === 'uint' ? BigInt.asUintN(bits, x) : BigInt.asIntN(bits, x);
};

/** Strings as numbers of `to`, or numbers as strings. */
export function castText(b: Builder, x: Value, to: DType): Value {
  const { shape } = x.type;
  if (to === 'string') return b.host('number_text', toText, [x], [{ dtype: to, shape }])[0] as Value;
  return b.host('text_number', toNumbersOf(to), [x], [{ dtype: to, shape }])[0] as Value;
}
