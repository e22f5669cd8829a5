// The best this machine does on a target, for a profile to compare with: operations a second of a matrix product that fits
// its caches, bytes a second of an addition that does. Measured as profiles are, on code compiled the same way.

import { type CompileOptions, lowerToProgram } from '../compile.js';
import { parseModule } from '../ir/parse.js';
import { fromNumbers } from '../support/tensor.js';
import { openProfiled, profileRuns } from './profile.js';
import { bestOf, type Peak, profileTable } from './profile-report.js';
import type { Target } from './targets.js';

const SIDE = 192;
const LENGTH = 16384;

const PROGRAM = `module "peak" {
  entry "run" ("a": %0 "a" f32[${SIDE}, ${SIDE}], "b": %1 "b" f32[${SIDE}, ${SIDE}], "x": %2 "x" f32[${LENGTH}]) {
    %3 "product" = einsum "ac,cb->ab" %0, %1 : f32[${SIDE}, ${SIDE}] @ MatMul "product" 0
    %4 "sum" = add %2, %2 : f32[${LENGTH}] @ Add "sum" 1
    return "product": %3, "sum": %4
  }
}
`;

const RUNS = 30;

/** `options` are those of the program compared with. */
export async function measurePeak(target: Target, options: CompileOptions): Promise<Peak> {
  const program = lowerToProgram(parseModule(PROGRAM), { ...options, target });
  const square = fromNumbers('f32', [SIDE, SIDE], new Array<number>(SIDE * SIDE).fill(0.5));
  const line = fromNumbers('f32', [LENGTH], new Array<number>(LENGTH).fill(0.5));
  const profiled = await openProfiled(target, program);
  try {
    const { events } = await profileRuns(profiled, { a: square, b: square, x: line } as never, RUNS);
    // The fastest of the runs: a machine's peak is what it can do when nobody else wants it.
    const rows = events.map((run) => profileTable(program, profiled.points, [run], new Map()));
    return bestOf(rows.flat(), { operations: 0, bytes: 0 });
  } finally {
    await profiled.session.close();
  }
}
