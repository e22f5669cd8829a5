// Damaged files all the way: what still reads after a mutation is imported, compiled and, where it is small, run. The only
// way to fail is a CompileError; anything else, a long wait or a large memory is a bug. HEDDLE_SEED repeats a run.

import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { importSource, lowerToProgram, readModel } from '../../src/compile.js';
import { isConst, product } from '../../src/ir/dim.js';
import type { Program } from '../../src/ir/program.js';
import { visitNodes } from '../../src/ir/rewrite.js';
import type { Module } from '../../src/ir/tensor.js';
import { CompileError } from '../../src/support/errors.js';
import { fromNumbers, sizeOf, type Tensor } from '../../src/support/tensor.js';
import { encodeModel, floatAttr, floats, graph, node } from '../frontend/onnx-models.js';
import { sharedData } from '../shared-data.js';

const SEED = Number(process.env.HEDDLE_SEED ?? 20_260_101);
const PER_MODEL = 220;
/** Nothing larger is run: bytes of memory, points of loop nests. */
const MAX_BYTES = 32 << 20;
const MAX_POINTS = 4e6;
const MAX_MILLISECONDS = 20_000;

function createRandom(seed: number): (n: number) => number {
  let s = seed | 0;
  return (n) => {
    s = (Math.imul(s, 1664525) + 1013904223) | 0;
    return Math.floor(((s >>> 8) / 2 ** 24) * n);
  };
}

/** One or two small changes, so that many survive reading: a bit, a byte, a word or a copied run, mostly near the ends. */
function mutate(original: Uint8Array, below: (n: number) => number): Uint8Array {
  const bytes = original.slice();
  for (let hits = 1 + below(2); hits > 0; hits--) {
    const span = below(4) > 0 ? Math.min(6000, bytes.length) : bytes.length;
    const at = below(2) ? below(span) : bytes.length - 1 - below(span);
    const what = below(4);
    if (what === 0) bytes[at] = (bytes[at] ?? 0) ^ (1 << below(8));
    else if (what === 1) bytes[at] = below(256);
    else if (what === 2) bytes[at] = [0, 1, 2, 3, 7, 127, 128, 255][below(8)] as number;
    else bytes.copyWithin(at, below(bytes.length), Math.min(bytes.length, at + 1 + below(8)));
  }
  return bytes;
}

/** Loop points of all generics; infinite where a size is open or a loop's count is data. */
function work(m: Module): number {
  let points = 0;
  for (const e of m.entries)
    visitNodes(e.body, (n) => {
      if (n.kind === 'while') points = Number.POSITIVE_INFINITY;
      if (n.kind !== 'generic') return;
      const size = product([...n.shape, ...n.reduce]);
      points += isConst(size) ? size : Number.POSITIVE_INFINITY;
    });
  return points;
}

const bytesOf = (p: Program): number =>
  p.arenaBytes +
  p.stateBytes +
  p.weightBytes +
  p.buffers.reduce((s, b) => s + (b.place.kind === 'const' ? 0 : 8 * b.elements), 0);

function inputsOf(p: Program): Record<string, Tensor> | null {
  const entries = p.entries[0]?.inputs.map((v): [string, Tensor] | null => {
    if (!v.shape.every(isConst) || v.dtype === 'string') return null;
    const n = sizeOf(v.shape as number[]);
    return [
      v.name,
      fromNumbers(
        v.dtype,
        v.shape as number[],
        Float64Array.from({ length: n }, (_, k) => (k % 7) / 7),
      ),
    ];
  });
  return entries?.every((x) => x !== null) ? Object.fromEntries(entries as [string, Tensor][]) : null;
}

type Outcome = 'refused' | 'compiled' | 'ran';

async function attempt(bytes: Uint8Array): Promise<Outcome> {
  try {
    const model = readModel(bytes, { file: 'mutated' });
    const m = importSource(model, { defaultDim: { lo: 2, hi: 2 } }); // open sizes have no bound to plan memory by
    const light = work(m) <= MAX_POINTS;
    if (!light) return 'compiled'; // folding its constants may take as long as running it
    const program = lowerToProgram(m, { target: 'wasm' });
    const inputs = inputsOf(program);
    if (!inputs || bytesOf(program) > MAX_BYTES) return 'compiled';
    createInterpreter(lowerToProgram(m, { target: 'interp' })).runSync(inputs as never);
    const session = await instantiateWasm(program);
    await session.run(inputs as never);
    await session.close();
    return 'ran';
  } catch (error) {
    if (error instanceof CompileError) return 'refused';
    throw error;
  }
}

const BUILT = encodeModel(
  graph([node('Add', ['x', 'w'], ['s']), node('Elu', ['s'], ['y'], { attribute: [floatAttr('alpha', 1)] })], {
    initializer: [floats('w', [2], [1, 2])],
  }),
);

const REAL = [
  'models/onnx/mnist_8/model.onnx',
  'models/onnx/qlstm_scan/model.onnx',
  'conformance/tflite/models/hello_world_int8/model.tflite',
  'conformance/tflite/models/magic_wand/model.tflite',
].flatMap((name): (readonly [string, Uint8Array])[] => {
  const path = sharedData(name);
  return path && existsSync(path) ? [[name, new Uint8Array(readFileSync(path))]] : [];
});

describe.each([['a built model', BUILT] as const, ...REAL])(
  `${PER_MODEL} mutations of %s, seed ${SEED}`,
  (name, original) => {
    it('import, compile and run, or raise a CompileError', { timeout: 300_000 }, async () => {
      const below = createRandom(SEED + name.length);
      const counts: Record<Outcome, number> = { refused: 0, compiled: 0, ran: 0 };
      const crashes: string[] = [];
      for (let k = 0; k < PER_MODEL; k++) {
        const bytes = mutate(original, below);
        const start = performance.now();
        try {
          counts[await attempt(bytes)]++;
        } catch (error) {
          crashes.push(`mutation ${k}: ${(error as Error).stack?.split('\n').slice(0, 4).join(' | ')}`);
        }
        expect(performance.now() - start, `${name}, mutation ${k}, seed ${SEED}`).toBeLessThan(MAX_MILLISECONDS);
      }
      expect(crashes.slice(0, 8), `${crashes.length} of ${PER_MODEL}, HEDDLE_SEED=${SEED}`).toEqual([]);
      expect(counts.refused + counts.compiled + counts.ran).toBe(PER_MODEL);
      expect(counts.ran, JSON.stringify(counts)).toBeGreaterThan(PER_MODEL / 20);
    });
  },
);
