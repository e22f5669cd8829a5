// What the files of C's vector cells share: a vector type, and the two texts of an operation on it.

import type { DType } from '../../support/dtype.js';
import type { StoredType } from '../lang.js';

/** Adds a definition unless there is one of that name. */
export type Define = (name: string, text: string) => void;

export interface VectorType {
  readonly name: string;
  readonly lanes: number;
  /** Of one lane; masks are i32. */
  readonly lane: StoredType;
  readonly isMask: boolean;
}

export type TypeOf = (t: DType, lanes: number) => VectorType;

export interface Body {
  /** Where vectors have operators for it. */
  readonly simd: string | undefined;
  /** One lane of the result. */
  readonly lane: string;
}

/** The mask of AVX-512 that leaves no lane out, for builtins on integers; those on floats take a signed one, −1. */
export const everyLane = (lanes: number): string => `0x${(2 ** lanes - 1).toString(16)}`;
