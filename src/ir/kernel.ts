// Level two: loop programs over flat buffers. A kernel is a pure function of its parameters: buffers, and the
// values of size symbols. Statement kinds are the fixed vocabulary; backends walk them, passes rewrite them.
// After `legalize` only i32 u32 i64 u64 f32 f64 i1 are computed with, and buffers hold i8…u64, f32, f64.

import type { DType } from '../support/dtype.js';
import type { Dim, Sym } from './dim.js';
import type { Expr } from './scalar.js';

export type LoopMode = 'serial' | 'parallel' | 'vector' | 'grid' | 'local';

export type Stmt =
  /** var runs over lo, lo+step, … < hi (i32). `parallel`: iterations are independent. */
  | {
      readonly s: 'for';
      readonly var: string;
      readonly lo: Expr;
      readonly hi: Expr;
      readonly step: number;
      readonly mode: LoopMode;
      readonly body: readonly Stmt[];
    }
  | { readonly s: 'while'; readonly cond: Expr; readonly body: readonly Stmt[] }
  | { readonly s: 'if'; readonly cond: Expr; readonly then: readonly Stmt[]; readonly else: readonly Stmt[] }
  /** Leaves the innermost for or while. */
  | { readonly s: 'break' }
  /** Declares a variable; only `mutable` ones may be `set`. Visible to the end of the enclosing body; names are unique in a kernel. */
  | { readonly s: 'let'; readonly var: string; readonly value: Expr; readonly mutable: boolean }
  | { readonly s: 'set'; readonly var: string; readonly value: Expr }
  /** buffer[index] = value; a vector value writes `lanes` consecutive elements. Narrow buffers keep the low bits. */
  | { readonly s: 'store'; readonly buf: number; readonly index: Expr; readonly value: Expr }
  | {
      readonly s: 'atomic';
      readonly op: 'add' | 'max' | 'min';
      readonly buf: number;
      readonly index: Expr;
      readonly value: Expr;
    }
  /** Declares local storage as buffer slot `buf`; contents start undefined. With `lanes` a backend has found that it is
   *  only read and written in whole vectors, and indices count those. */
  | {
      readonly s: 'alloc';
      readonly buf: number;
      readonly dtype: DType;
      readonly size: number;
      readonly space: 'register' | 'local';
      readonly lanes?: number;
    }
  | { readonly s: 'barrier' }
  /** A named instruction sequence; `body` is its meaning and what a backend without it emits. */
  | { readonly s: 'intrin'; readonly name: string; readonly args: readonly Expr[]; readonly body: readonly Stmt[] };

/** A buffer parameter. `size` is in elements. Scratch is uninitialised memory the planner provides for the call. */
export interface BufferParam {
  readonly name: string;
  readonly dtype: DType;
  readonly access: 'read' | 'write' | 'readwrite' | 'scratch';
  readonly size: Dim;
}

export interface Kernel {
  readonly name: string;
  /** Buffer slot i of loads and stores is params[i]; slots from params.length on are declared by `alloc`. */
  readonly params: readonly BufferParam[];
  /** Size symbols the body reads (`dim` expressions), passed as i32 in this order. */
  readonly syms: readonly Sym[];
  readonly body: readonly Stmt[];
  readonly shares?: Shares;
  /** The same work for a processor beside the target, made when asked for; and why the target cannot do it, if it cannot. */
  readonly twin?: { readonly make: () => Kernel; readonly refusal: string | null };
}

/** The body reads the i32 variables SHARE and THREAD: run for the shares 0 … count − 1, in any order or at once, each by one
 *  of the threads 0 … threads − 1, which does one at a time, it is the whole kernel. */
export interface Shares {
  readonly count: number;
  readonly threads: number;
}

/** No names a model can give. */
export const SHARE = '$share';
export const THREAD = '$thread';

/** An i1 variable every body may read: whether the program was built with vectors. Where that is known only to whoever builds
 *  it, as with C, a schedule may give loops beside. Both arms of an `if` on it do the same. */
export const VECTORS = '$vectors';
