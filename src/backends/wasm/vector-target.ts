// What schedules are told of WebAssembly: its vectors, and how the engine that matters most, V8 on x86-64, compiles them.

import type { DType } from '../../support/dtype.js';
import { type VectorQuery, wasmVectorOps } from './vector-cells.js';

export const WASM_VECTORS = {
  lanes: 4,
  supports: (op: VectorQuery | 'cast', dtype: DType, lanes: number): boolean =>
    op === 'cast' || wasmVectorOps(op, dtype, lanes),
  tile: { vectors: 2, rows: 4, overlapping: 4 },
  fullRate: 4,
  registers: 15, // of x86-64: V8 keeps one for itself
  spillsWell: true,
  loadsFirst: true, // V8 schedules from the end of a block, and loads are one chain
  near: 16384, // of 32 KB instead, 1×1 convolutions of 7×7 maps lose a seventh (measured)
  unrolls: false,
  loadsHalves: false,
  keepsSplats: false,
  keepsSums: true,
  separates: true,
  longSteps: 48, // V8 takes turns between independent chains
  shortSteps: 4, // V8 moves each pointer, looks at the stack's limit and compares, in each step it writes out as well
  rowsAtOnce: 4,
  dot: {
    quads: false,
    widensInBlocks: true,
    mayLackVectors: false,
    zips: true,
    lanes: [4],
    tile: { vectors: 2, rows: 4, alone: 4 },
  },
};
