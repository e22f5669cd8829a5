// What a family of operators is: a generator of random one-node models, each with what its operator's definition gives.
// One table serves two tests: every published version against its definition, and the interpreter against C and WebAssembly.

import { ONNX_OPERATORS } from '../../../src/frontend/onnx/operator-list.js';
import { DTYPE_INFO, type DType } from '../../../src/support/dtype.js';
import { fromNumbers, sizeOf, type Tensor } from '../../../src/support/tensor.js';
import type { NodeCase } from '../node-case.js';
import type { Arr } from './arrays.js';

export interface OpCase extends NodeCase {
  readonly opset: number;
  /** Output by output; null where the definition leaves it open. */
  readonly want: readonly (Arr | null)[];
  /** Relative and absolute, where not the usual of the output's type. */
  readonly tolerance?: number;
}

type Made = Omit<OpCase, 'op' | 'opset' | 'domain'>;

export interface Family {
  readonly name: string;
  /** `Abs`, `ai.onnx.ml:Scaler`. */
  readonly ops: readonly string[];
  /** Versions the published ones are limited to; a deprecated one may define nothing. */
  readonly versions?: (op: string, version: number) => boolean;
  readonly make: (op: string, version: number, r: Random) => Made;
}

/** Definitions of one family by operator. */
export const family = (
  name: string,
  table: Readonly<Record<string, (version: number, r: Random) => Made>>,
  versions?: Family['versions'],
): Family => ({
  name,
  ops: Object.keys(table),
  ...(versions && { versions }),
  make: (op, version, r) => (table[op] as (v: number, r: Random) => Made)(version, r),
});

/** The same for the operators of a domain. */
export const familyOf = (
  name: string,
  domain: string,
  table: Readonly<Record<string, (version: number, r: Random) => Made>>,
): Family => family(name, Object.fromEntries(Object.entries(table).map(([op, make]) => [`${domain}:${op}`, make])));

export interface Random {
  /** In [0, 1). */
  next(): number;
  /** Both ends included. */
  int(lo: number, hi: number): number;
  pick<T>(list: readonly T[]): T;
  bool(chance?: number): boolean;
  /** Sizes 1 to `most`. */
  shape(rank: number, most?: number): number[];
  /** Multiples of 1/64 for floats, so that narrow types and sums in any order agree. */
  tensor(shape: readonly number[], lo?: number, hi?: number, dtype?: DType): Tensor;
  shuffle(n: number): number[];
}

export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const int = (lo: number, hi: number): number => lo + Math.floor(next() * (hi - lo + 1));
  const fraction = (lo: number, hi: number): number => int(Math.ceil(lo * 64), Math.floor(hi * 64)) / 64;
  return {
    next,
    int,
    pick: (list) => list[int(0, list.length - 1)] as never,
    bool: (chance = 0.5) => next() < chance,
    shape: (rank, most = 4) => Array.from({ length: rank }, () => int(1, most)),
    tensor: (shape, lo = -4, hi = 4, dtype = 'f32') => {
      const whole = DTYPE_INFO[dtype].kind !== 'float';
      const value = (): number => (whole ? int(Math.ceil(lo), Math.floor(hi)) : fraction(lo, hi));
      return fromNumbers(dtype, shape, Array.from({ length: sizeOf(shape) }, value));
    },
    shuffle: (n) => {
      const list = Array.from({ length: n }, (_, k) => k);
      for (let k = n - 1; k > 0; k--) {
        const j = int(0, k);
        [list[k], list[j]] = [list[j] as number, list[k] as number];
      }
      return list;
    },
  };
}

const split = (op: string): readonly [domain: string, name: string] => {
  const cut = op.lastIndexOf(':');
  return cut < 0 ? ['ai.onnx', op] : [op.slice(0, cut), op.slice(cut + 1)];
};

const published = new Map(ONNX_OPERATORS.map((o) => [`${o.domain}:${o.name}`, o.versions]));

/** The published versions of an operator that its family makes cases for; onnxruntime's operators have one. */
export const versionsOf = (f: Family, op: string): readonly number[] =>
  op.startsWith('com.microsoft:')
    ? [1]
    : (published.get(split(op).join(':')) ?? []).map((v) => v.version).filter((v) => f.versions?.(op, v) ?? true);

/** Element types the version publishes for a type variable, of those asked for. */
export function typesOf(op: string, version: number, variable: string, among: readonly DType[]): readonly DType[] {
  const types = published.get(split(op).join(':'))?.find((v) => v.version === version)?.types[variable] ?? [];
  const found = among.filter((t) => types.includes(t));
  return found.length > 0 ? found : ['f32'];
}

export function makeCase(f: Family, op: string, version: number, seed: number): OpCase {
  const [domain, name] = split(op);
  return { ...f.make(op, version, createRandom(seed)), op: name, domain, opset: version };
}
