// Sizes as data: evaluated here where every symbol has a value, or written as instructions that the device evaluates
// (size-shader.ts) where it alone knows some.

import type { GpuSize } from '../plan-types.js';

export type Environment = ReadonlyMap<string, number>;

/** A symbol whose value is on the device: pair `at` of words among the counts, clamped to its bounds. */
export interface OpenSymbol {
  readonly at: number;
  readonly wide: boolean;
  readonly lo: number;
  readonly hi: number;
}

export interface Sizes {
  /** Throws where a symbol has no value. */
  evaluate(size: GpuSize, env: Environment): number;
  /** Whether a symbol in it is among those that `open` has. */
  isOpen(size: GpuSize, open: { has(name: string): boolean }): boolean;
  /** Appends instructions that push the value; gives back how deep the stack gets. */
  write(size: GpuSize, env: Environment, open: ReadonlyMap<string, OpenSymbol>, out: number[]): number;
}

/** `codes`: the number of each instruction. */
export function createSizes(codes: readonly string[]): Sizes {
  const evaluate = (size: GpuSize, env: Environment): number => {
    if (typeof size === 'number') return size;
    if (typeof size === 'string') {
      const value = env.get(size);
      if (value === undefined) throw new Error(`the size "${size}" has no value yet`);
      return value;
    }
    const [op, ...args] = size;
    const [x = 0, y = 0, z = 0] = args.map((a) => evaluate(a as GpuSize, env));
    if (op === '+') return x + y;
    if (op === '*') return x * y;
    if (op === '//') return Math.floor(x / y);
    if (op === '%') return x - Math.floor(x / y) * y;
    if (op === 'min') return Math.min(x, y);
    if (op === 'max') return Math.max(x, y);
    if (op === 'sub') return x - y;
    if (op === 'neg') return -x;
    if (op === 'div') return Math.trunc(x / y);
    if (op === 'rem') return x % y;
    if (op === 'select') return x ? y : z;
    if (op === 'eq') return Number(x === y);
    if (op === 'lt') return Number(x < y);
    if (op === 'le') return Number(x <= y);
    if (op === 'and') return x & y;
    if (op === 'or') return x | y;
    if (op === 'xor') return x ^ y;
    if (op === 'shl') return x * 2 ** y;
    if (op === 'shr_s') return Math.floor(x / 2 ** y);
    throw new Error(`a size is given by the unknown operation "${op}"`);
  };
  const isOpen = (size: GpuSize, open: { has(name: string): boolean }): boolean => {
    if (typeof size === 'string') return open.has(size);
    return typeof size === 'object' && size.slice(1).some((x) => isOpen(x as GpuSize, open));
  };
  const code = (name: string): number => codes.indexOf(name);
  const write: Sizes['write'] = (size, env, open, out) => {
    if (typeof size === 'string' && open.has(size)) {
      const { at, wide, lo, hi } = open.get(size) as OpenSymbol;
      out.push(code(wide ? 'count64' : 'count32'), at, lo, hi);
      return 1;
    }
    if (typeof size !== 'object' || !isOpen(size, open)) {
      out.push(code('const'), evaluate(size, env));
      return 1;
    }
    const [op, ...args] = size;
    const operands = op === 'neg' ? [0, ...args] : args;
    const depths = operands.map((a, k) => k + write(a as GpuSize, env, open, out));
    out.push(code(op === 'neg' ? 'sub' : op));
    return Math.max(...depths);
  };
  return { evaluate, isOpen, write };
}
