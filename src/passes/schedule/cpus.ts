// Processors C can be scheduled for: how wide their vectors are, and the register tile that keeps their multipliers busy
// without spilling. The code itself is the same portable vector code everywhere.

import type { VectorTarget } from './target.js';

export const CPU_NAMES = ['generic', 'sse2', 'avx2', 'avx512', 'avx512vnni', 'neon'] as const;
export type Cpu = (typeof CPU_NAMES)[number];

const cpu = (
  lanes: number,
  rows: number,
  registers: number,
  overlapping: number,
  loadsHalves: boolean,
): VectorTarget => ({
  lanes,
  supports: () => true,
  tile: { vectors: 2, rows, overlapping },
  fullRate: 8, // Zen 4 has units of 256 bits, others of 512
  registers,
  spillsWell: false,
  loadsFirst: false,
  near: 16384,
  unrolls: true,
  loadsHalves,
  keepsSplats: true,
  keepsSums: false,
  separates: true,
  longSteps: 0,
  shortSteps: 1,
  rowsAtOnce: 4,
  dot: {
    quads: true,
    widensInBlocks: false,
    mayLackVectors: true,
    zips: false,
    lanes: [16, 8, 4].filter((n) => n <= lanes),
    tile: { vectors: 2, rows: Math.min(rows, 6), alone: 4 },
  },
});

/** Of two units of 512 bits one is further away. */
const AVX512: VectorTarget = { ...cpu(16, 8, 32, 1, true), latency: 5 };

/** Rows that share their loads take code and rows in blocks memory, of which 'generic' is to have little; with long vectors the
 *  first gain nothing (measured). Without vector types, as 'generic' may be built, two vectors taken apart are worse than elements. */
export const CPUS: Readonly<Record<Cpu, VectorTarget>> = {
  generic: { ...cpu(4, 4, 16, 1, false), rowsAtOnce: 1, separates: false },
  sse2: cpu(4, 4, 16, 3, false),
  avx2: { ...cpu(8, 6, 16, 1, true), near: 8192 }, // what a first level of 32 KB holds
  avx512: AVX512,
  avx512vnni: AVX512,
  neon: cpu(4, 8, 32, 3, false),
};
