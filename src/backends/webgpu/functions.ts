// The WGSL functions that cells call, by name; a module gets only those it uses. `@name` marks the use of another.
// 64-bit integers are `wide` (x low word, y high word); packed elements are addressed by their element index.

import { VECTOR_HELPERS } from './vector-functions.js';

/** Definitions by name. */
export type Helpers = Readonly<Record<string, string>>;

const define = (name: string, args: string, result: string, body: string): Record<string, string> => ({
  [name]: `fn ${name}(${args}) -> ${result} {\n${body
    .trim()
    .split('\n')
    .map((l) => `  ${l}`)
    .join('\n')}\n}`,
});

const two = 'a: wide, b: wide';

const floats: Helpers = {
  ...define(
    'f32_of_bits',
    'x: u32',
    'f32',
    `var bits = x; // no constant expression, which might not be NaN or infinite
return bitcast<f32>(bits);`,
  ),
  ...define('is_nan', 'x: f32', 'bool', 'return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;'),
  ...define('min_f32', 'a: f32, b: f32', 'f32', 'return select(b, a, (a < b) || @is_nan(a));'),
  ...define('max_f32', 'a: f32, b: f32', 'f32', 'return select(b, a, (b < a) || @is_nan(a));'),
  ...define(
    'i32_from_f32',
    'x: f32',
    'i32',
    `let whole = i32(clamp(x, -2147483648f, 2147483520f));
let signed = select(whole, 2147483647i, x >= 2147483648f);
return select(signed, 0i, @is_nan(x));`,
  ),
  ...define(
    'u32_from_f32',
    'x: f32',
    'u32',
    `let whole = u32(clamp(x, 0f, 4294967040f));
let full = select(whole, 0xffffffffu, x >= 4294967296f);
return select(full, 0u, @is_nan(x));`,
  ),
};

const halves: Helpers = {
  ...define(
    'mulhi_u32',
    'a: u32, b: u32',
    'u32',
    `let al = a & 0xffffu;
let ah = a >> 16u;
let bl = b & 0xffffu;
let bh = b >> 16u;
let middle = ah * bl + ((al * bl) >> 16u);
return ah * bh + (middle >> 16u) + ((al * bh + (middle & 0xffffu)) >> 16u);`,
  ),
  ...define(
    'mulhi_i32',
    'a: i32, b: i32',
    'i32',
    `let high = @mulhi_u32(bitcast<u32>(a), bitcast<u32>(b));
return bitcast<i32>(high - select(0u, bitcast<u32>(b), a < 0) - select(0u, bitcast<u32>(a), b < 0));`,
  ),
};

const sums: Helpers = {
  ...define('add_64', two, 'wide', 'let low = a.x + b.x;\nreturn wide(low, a.y + b.y + select(0u, 1u, low < a.x));'),
  ...define('sub_64', two, 'wide', 'return wide(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x));'),
  ...define('neg_64', 'a: wide', 'wide', 'return @sub_64(wide(0u, 0u), a);'),
  ...define('abs_64', 'a: wide', 'wide', 'return select(a, @neg_64(a), bitcast<i32>(a.y) < 0);'),
  ...define('mul_64', two, 'wide', 'return wide(a.x * b.x, @mulhi_u32(a.x, b.x) + a.x * b.y + a.y * b.x);'),
  ...define(
    'mulhi_u64',
    two,
    'wide',
    `let low = wide(@mulhi_u32(a.x, b.x), 0u);
let left = wide(a.y * b.x, @mulhi_u32(a.y, b.x));
let right = wide(a.x * b.y, @mulhi_u32(a.x, b.y));
let middle = @add_64(left, low); // no carry: (2^32-1)^2 + 2^32-1 < 2^64
let rest = @add_64(right, wide(middle.x, 0u));
return @add_64(@add_64(wide(a.y * b.y, @mulhi_u32(a.y, b.y)), wide(middle.y, 0u)), wide(rest.y, 0u));`,
  ),
  ...define(
    'mulhi_i64',
    two,
    'wide',
    `let high = @mulhi_u64(a, b);
let less = @sub_64(high, select(wide(0u, 0u), b, bitcast<i32>(a.y) < 0));
return @sub_64(less, select(wide(0u, 0u), a, bitcast<i32>(b.y) < 0));`,
  ),
};

const comparisons: Helpers = {
  ...define('lt_u64', two, 'bool', 'return a.y < b.y || (a.y == b.y && a.x < b.x);'),
  ...define('lt_i64', two, 'bool', 'return bitcast<i32>(a.y) < bitcast<i32>(b.y) || (a.y == b.y && a.x < b.x);'),
  ...define('le_u64', two, 'bool', 'return !@lt_u64(b, a);'),
  ...define('le_i64', two, 'bool', 'return !@lt_i64(b, a);'),
  ...define('min_u64', two, 'wide', 'return select(b, a, @lt_u64(a, b));'),
  ...define('min_i64', two, 'wide', 'return select(b, a, @lt_i64(a, b));'),
  ...define('max_u64', two, 'wide', 'return select(a, b, @lt_u64(a, b));'),
  ...define('max_i64', two, 'wide', 'return select(a, b, @lt_i64(a, b));'),
};

const shifts: Helpers = {
  ...define(
    'shl_64',
    two,
    'wide',
    `let n = b.x & 63u;
let up = select((a.y << (n & 31u)) | ((a.x >> 1u) >> ((31u - n) & 31u)), a.x << (n & 31u), n >= 32u);
return wide(select(a.x << (n & 31u), 0u, n >= 32u), up);`,
  ),
  ...define(
    'shr_u_64',
    two,
    'wide',
    `let n = b.x & 63u;
let down = select((a.x >> (n & 31u)) | ((a.y << 1u) << ((31u - n) & 31u)), a.y >> (n & 31u), n >= 32u);
return wide(down, select(a.y >> (n & 31u), 0u, n >= 32u));`,
  ),
  ...define(
    'shr_s_64',
    two,
    'wide',
    `let n = b.x & 63u;
let top = bitcast<i32>(a.y);
let sign = bitcast<u32>(top >> 31u);
let high = bitcast<u32>(top >> (n & 31u));
let down = select((a.x >> (n & 31u)) | ((a.y << 1u) << ((31u - n) & 31u)), high, n >= 32u);
return wide(down, select(high, sign, n >= 32u));`,
  ),
  ...define(
    'clz_64',
    'a: wide',
    'wide',
    'return wide(select(countLeadingZeros(a.y), 32u + countLeadingZeros(a.x), a.y == 0u), 0u);',
  ),
  ...define('popcnt_64', 'a: wide', 'wide', 'return wide(countOneBits(a.x) + countOneBits(a.y), 0u);'),
};

/** Quotient and remainder together: the quotient grows from the top bit of the dividend down. */
const divisions: Helpers = {
  ...define(
    'divide_u64',
    two,
    'vec4<u32>',
    `if (a.y == 0u && b.y == 0u) {
  return vec4<u32>(a.x / b.x, 0u, a.x % b.x, 0u);
}
var quotient = wide(0u, 0u);
var rest = wide(0u, 0u);
for (var i: u32 = 0u; i < 64u; i++) {
  let bit = select(a.y >> (31u - (i & 31u)), a.x >> (31u - (i & 31u)), i >= 32u) & 1u;
  let over = (rest.y >> 31u) != 0u;
  rest = wide((rest.x << 1u) | bit, (rest.y << 1u) | (rest.x >> 31u));
  quotient = wide(quotient.x << 1u, (quotient.y << 1u) | (quotient.x >> 31u));
  if (over || !@lt_u64(rest, b)) {
    rest = @sub_64(rest, b);
    quotient.x |= 1u;
  }
}
return vec4<u32>(quotient, rest);`,
  ),
  ...define('div_u64', two, 'wide', 'return @divide_u64(a, b).xy;'),
  ...define('rem_u64', two, 'wide', 'return @divide_u64(a, b).zw;'),
  ...define(
    'div_i64',
    two,
    'wide',
    `let quotient = @divide_u64(@abs_64(a), @abs_64(b)).xy;
return select(quotient, @neg_64(quotient), ((a.y ^ b.y) >> 31u) != 0u);`,
  ),
  ...define(
    'rem_i64',
    two,
    'wide',
    `let rest = @divide_u64(@abs_64(a), @abs_64(b)).zw;
return select(rest, @neg_64(rest), (a.y >> 31u) != 0u);`,
  ),
};

const wideCasts: Helpers = {
  ...define('wide_from_i32', 'x: i32', 'wide', 'return wide(bitcast<u32>(x), bitcast<u32>(x >> 31u));'),
  ...define('f32_from_u64', 'a: wide', 'f32', 'return f32(a.y) * 4294967296f + f32(a.x);'),
  ...define(
    'f32_from_i64',
    'a: wide',
    'f32',
    `let size = @f32_from_u64(@abs_64(a));
return select(size, -size, bitcast<i32>(a.y) < 0);`,
  ),
  ...define(
    'u64_from_f32',
    'x: f32',
    'wide',
    `let whole = trunc(clamp(x, 0f, 18446742974197923840f));
let high = floor(whole * 2.3283064365386963e-10f);
let value = wide(u32(whole - high * 4294967296f), u32(high));
return select(select(value, wide(0xffffffffu, 0xffffffffu), x >= 18446744073709551616f), wide(0u, 0u), @is_nan(x));`,
  ),
  ...define(
    'i64_from_f32',
    'x: f32',
    'wide',
    `let size = @u64_from_f32(abs(x));
let value = select(size, @neg_64(size), x < 0f);
let high = select(value, wide(0xffffffffu, 0x7fffffffu), x >= 9223372036854775808f);
return select(high, wide(0u, 0x80000000u), x <= -9223372036854775808f);`,
  ),
};

const packed: Helpers = Object.assign(
  {},
  ...[8, 16].map((width) => {
    const mask = width === 8 ? '255u' : '65535u';
    const at = width === 8 ? '(u32(i) & 3u) * 8u' : '(u32(i) & 1u) * 16u';
    return {
      ...define(`keep_${width}`, 'i: i32', 'u32', `return ~(${mask} << (${at}));`),
      ...define(`place_${width}`, 'i: i32, x: i32', 'u32', `return (bitcast<u32>(x) & ${mask}) << (${at});`),
      ...define(`extract_u${width}`, 'word: u32, i: i32', 'i32', `return bitcast<i32>((word >> (${at})) & ${mask});`),
      ...define(
        `extract_i${width}`,
        'word: u32, i: i32',
        'i32',
        `return extractBits(bitcast<i32>(word), ${at}, ${width}u);`,
      ),
      ...Object.assign(
        {},
        ...['i', 'u'].map((s) => define(`word_${s}${width}`, 'i: i32', 'i32', `return i >> ${width === 8 ? 2 : 1}u;`)),
      ),
    };
  }),
);

const HELPERS: Helpers = {
  ...floats,
  ...halves,
  ...sums,
  ...comparisons,
  ...shifts,
  ...divisions,
  ...wideCasts,
  ...packed,
  ...VECTOR_HELPERS,
};

export const findHelper = (name: string): string | undefined => HELPERS[name];

export const ALL_HELPERS: readonly string[] = Object.keys(HELPERS);
