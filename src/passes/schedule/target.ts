// What a schedule needs to know of a target: how wide its vectors are and what they can do.

import type { PrimitiveOp } from '../../ir/scalar.js';
import type { DType } from '../../support/dtype.js';

export interface VectorTarget {
  /** 32-bit lanes in a vector register. */
  readonly lanes: number;
  /** Whether an operation exists on a vector of `lanes` × dtype; casts ask for the source type. */
  readonly supports: (op: PrimitiveOp | 'select' | 'cast' | 'bitcast', dtype: DType, lanes: number) => boolean;
  /** Vectors along the vector axis, and rows, of a register tile; and rows of one whose rows read some elements both. */
  readonly tile: { readonly vectors: number; readonly rows: number; readonly overlapping: number };
  /** Lanes up to which every processor of the kind works at its full rate; with more, some take twice as long. */
  readonly fullRate: number;
  /** Vector registers there are for values. */
  readonly registers: number;
  /** Whether what a loop does not need is what goes to memory where registers are too few: gcc may take sums of that loop. */
  readonly spillsWell: boolean;
  /** Whether loads come before arithmetic wherever they may, so that many are live at once. */
  readonly loadsFirst: boolean;
  /** Cycles from one addition to the next of few sums, where they are not the usual ones (cost.ts). */
  readonly latency?: number;
  /** Elements of an operand up to which many rows read it in place: of a first-level cache, or two of them where fetching from the
   *  second goes on beside the work. */
  readonly near: number;
  /** Whether inner loops of few steps are written out by a compiler, so that a sum over several loops costs what one does. */
  readonly unrolls: boolean;
  /** Whether a load makes floats of halves, so that weights are better two bytes than four however near they are. */
  readonly loadsHalves: boolean;
  /** Whether copying a scalar into all lanes is left where it is used: to a compiler, or where vectors are structs, to loops. */
  readonly keepsSplats: boolean;
  /** Whether sums of floats stay as written: a compiler may be told to re-associate them. */
  readonly keepsSums: boolean;
  /** Whether every other element of two vectors is had by about one instruction. */
  readonly separates: boolean;
  /** Operations up to which a step is worth writing out for several vectors. A compiler that keeps the order of what it is
   *  given does little more than the processor does by itself. */
  readonly longSteps: number;
  /** Steps of few operations written out in one turn of a loop: more than one where a turn costs as much as a step. */
  readonly shortSteps: number;
  /** Rows of which one's loop goes on where the last steps of another's reduction wait for one another. */
  readonly rowsAtOnce: number;
  /** The `dot` operation, where there is one. */
  readonly dot?: DotTarget;
}

export interface DotTarget {
  /** Whether quads of bytes are as good as pairs of 16 bits. */
  readonly quads: boolean;
  /** Whether bytes are better widened once for many rows than on each load. */
  readonly widensInBlocks: boolean;
  /** Whether the program may be built without vectors: it then gets loops that a compiler makes vectors of, too. */
  readonly mayLackVectors: boolean;
  /** Whether lanes of two vectors are taken in turn by one instruction, so that pairs may be made where they are used. */
  readonly zips: boolean;
  /** Numbers of sums in a vector, the best first. */
  readonly lanes: readonly number[];
  /** `alone`: vectors of a tile for a row without others. It reads the columns once and waits for memory, so they lie one
   *  after the other: a processor fetches ahead along one stream, not along several. */
  readonly tile: { readonly vectors: number; readonly rows: number; readonly alone: number };
}

/** A target with operators on 32-bit lanes of f32, i32 and u32. */
export const SIMD_32 = new Set<DType>(['f32', 'i32', 'u32', 'i1']);
