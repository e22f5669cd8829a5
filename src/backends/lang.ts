// The cells of a C-like language: how each primitive of each type, each cast, load, store and loop is spelled.
// A cell is a text with `$0 $1 …` for operands and `@name` for a helper function of the language; cell.ts fills it.
// The types say which cells must exist, so that tsc lists the missing ones. clike.ts walks kernels with a Lang.

import type { LoopMode } from '../ir/kernel.js';
import type { PrimitiveOp } from '../ir/scalar.js';
import type { DType } from '../support/dtype.js';
import { InternalError } from '../support/errors.js';

export const INTS = ['i32', 'u32', 'i64', 'u64'] as const;
export const FLOATS = ['f32', 'f64'] as const;
export const NUMBERS = [...INTS, ...FLOATS] as const;
export const STORED = ['i8', 'i16', 'i32', 'i64', 'u8', 'u16', 'u32', 'u64', 'f32', 'f64'] as const;

export type IntType = (typeof INTS)[number];
export type FloatType = (typeof FLOATS)[number];
export type NumberType = (typeof NUMBERS)[number];
/** The types a legalized kernel computes with. */
export type ComputeType = NumberType | 'i1';
/** The element types of a legalized kernel's buffers. */
export type StoredType = (typeof STORED)[number];

export type Cell = string;

type IntOp = 'rem' | 'shl' | 'shr_s' | 'shr_u' | 'mulhi_u' | 'mulhi_s' | 'clz' | 'popcnt';
type LogicOp = 'and' | 'or' | 'xor';
type FloatOp = 'floor' | 'ceil' | 'trunc' | 'rint' | 'sqrt';

/** Which types each primitive is defined for. */
export type TypesOf<O extends PrimitiveOp> = O extends IntOp
  ? IntType
  : O extends LogicOp
    ? IntType | 'i1'
    : O extends FloatOp
      ? FloatType
      : O extends 'eq'
        ? ComputeType
        : NumberType;

export type OpTable = { readonly [O in PrimitiveOp]: Readonly<Record<TypesOf<O>, Cell>> };
export type CellLookup = Readonly<Record<string, Readonly<Record<string, Cell>>>>;

/** One spelling for each of several types. */
export const each = <T extends string>(types: readonly T[], cell: (type: T) => Cell): Record<T, Cell> =>
  Object.fromEntries(types.map((t) => [t, cell(t)])) as Record<T, Cell>;

export interface LoopHead {
  readonly name: string;
  readonly lo: string;
  readonly hi: string;
  readonly step: number;
  readonly mode: LoopMode;
  readonly innermost: boolean;
  /** Vectors of floats it adds to. */
  readonly sums: number;
  /** Steps; null where they are not known. */
  readonly steps: number | null;
}

export interface Lang {
  readonly name: string;
  readonly reserved: ReadonlySet<string>;
  readonly ops: OpTable;
  /** Cheaper spellings where the result of add/sub/mul, or the count of a shift, is proven to be in range. */
  readonly exact: CellLookup;
  readonly cast: (from: ComputeType, to: ComputeType) => Cell;
  readonly bitcast: (from: NumberType, to: NumberType) => Cell;
  readonly constant: (value: number | bigint, type: ComputeType) => Cell;
  /** `$0` buffer, `$1` index; a function where the element type decides. */
  readonly load: Cell | ((from: StoredType) => Cell);
  /** `$0` buffer, `$1` index, `$2` value. */
  readonly store: (into: StoredType, from: ComputeType) => Cell;
  /** `$0` condition, `$1` where it holds, `$2` else; by default C's conditional operator. */
  readonly select?: Cell;
  /** A constant that minima and maxima are taken with, where it is better declared than written out. */
  readonly limit?: (text: string) => Cell;
  readonly declare: (
    type: ComputeType | StoredType,
    lanes: number,
    name: string,
    value: string,
    mutable: boolean,
  ) => string;
  /** The lines that open a loop, the last with its brace. */
  readonly loop: (head: LoopHead) => readonly string[];
  /** Local storage; `hoist`: declared once at the top of the function rather than where it stands. */
  readonly allocate: {
    readonly hoist: boolean;
    /** `lanes` > 1: an array of vectors. */
    readonly text: (name: string, type: StoredType, size: number, space: 'register' | 'local', lanes: number) => string;
  };
  /** Waits for all invocations of a group; absent where `local` loops run serially. */
  readonly barrier?: string;
  /** Lines around an `intrin`, whose arguments are given as text; without them it is its body. */
  readonly intrin?: (name: string, args: readonly string[]) => readonly [before: string, after: string] | null;
  /** Marks a parameter that the body does not mention; empty where the language does not care. */
  readonly unused: (name: string) => string;
  /** The condition that the program was built with vectors (VECTORS in ir/kernel.ts). */
  readonly vectors?: string;
  /** Vector cells; a language without them runs no kernel with lanes > 1. */
  readonly vector?: VectorCells;
}

export type Shift = 'shl' | 'shr_s' | 'shr_u';

/** Spellings over vectors. `lanes` > 1 throughout; scalars among the operands of an operation were splat before. */
export interface VectorCells {
  readonly op: (op: PrimitiveOp, type: DType, lanes: number) => Cell;
  /** Every lane of `$0` by the scalar `$1`; absent where that is no better than by a vector. */
  readonly shift?: (op: Shift, type: DType, lanes: number) => Cell;
  readonly cast: (from: DType, to: DType, lanes: number) => Cell;
  readonly bitcast: (from: DType, to: DType, lanes: number) => Cell;
  /** `$0` condition, `$1`, `$2`. */
  readonly select: (type: DType, lanes: number) => Cell;
  /** `$0` < `$1` ? `$1` : `$0` for max, `$1` < `$0` ? `$1` : `$0` for min; floats. */
  readonly extremum: (op: 'min' | 'max', type: DType, lanes: number) => Cell;
  readonly splat: (type: DType, lanes: number) => Cell;
  /** A short vector as often as it fits: `$0`. */
  readonly repeat: (type: DType, group: number, lanes: number) => Cell;
  /** `$0` sums in `lanes` lanes of i32, `$1` and `$2` narrow lanes in groups, of types a and b. */
  readonly dot: (a: DType, b: DType, lanes: number) => Cell;
  /** `$0` and `$1` in turn, of their first halves or their second. */
  readonly zip: (type: DType, lanes: number, half: number) => Cell;
  /** Every other element of `$0` and then `$1`, which begins with the last of `$0`. */
  readonly evens: (type: DType, lanes: number) => Cell;
  /** `$0` vector. */
  readonly extract: (type: DType, lanes: number, lane: number) => Cell;
  /** `$0` first value. */
  readonly iota: (type: DType, lanes: number) => Cell;
  /** `$0` buffer, `$1` index (a vector where `gather`), with `masked` `$2` guard lanes and `$3` pad. */
  readonly load: (from: StoredType, to: DType, lanes: number, how: { gather: boolean; masked: boolean }) => Cell;
  /** `$0`, which was loaded for several uses and is to stay in a register; absent where a compiler sees to that. */
  readonly hold?: (type: DType, lanes: number) => Cell;
  /** `$0` buffer of 16 bits, `$1` index: floats, which those bits are as f16, where no exponent is the highest. Absent: arithmetic. */
  readonly loadHalves?: (lanes: number) => Cell;
  /** `$0` buffer, `$1` index, `$2` value. */
  readonly store: (from: DType, into: StoredType, lanes: number) => Cell;
}

export function computeType(t: DType): ComputeType {
  if (t === 'i1' || (NUMBERS as readonly string[]).includes(t)) return t as ComputeType;
  throw new InternalError(`internal: a legalized kernel does not compute with ${t}`);
}

export function storedType(t: DType): StoredType {
  if (t === 'i1') return 'u8';
  if ((STORED as readonly string[]).includes(t)) return t as StoredType;
  throw new InternalError(`internal: a legalized kernel has no buffers of ${t}`);
}
