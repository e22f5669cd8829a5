// Processors C can be scheduled for: how wide their vectors are, and the register tile that keeps their multipliers busy
// without spilling. The code itself is the same portable vector code everywhere.

import type { VectorTarget } from './target.js';

export const CPU_NAMES = ['generic', 'sse2', 'avx2', 'avx512', 'avx512vnni', 'neon'] as const;
export type Cpu = (typeof CPU_NAMES)[number];

const cpu = (lanes: number, vectors: number, rows: number): VectorTarget => ({
  lanes,
  supports: () => true,
  tile: { vectors, rows },
  keepsSplats: true,
  dot: {
    quads: true,
    widensInBlocks: false,
    mayLackVectors: true,
    lanes: [16, 8, 4].filter((n) => n <= lanes),
    tile: { vectors, rows: Math.min(rows, 6) },
  },
});

export const CPUS: Readonly<Record<Cpu, VectorTarget>> = {
  generic: cpu(4, 2, 4),
  sse2: cpu(4, 2, 4),
  avx2: cpu(8, 2, 6),
  avx512: cpu(16, 2, 8),
  avx512vnni: cpu(16, 2, 8),
  neon: cpu(4, 2, 8),
};
