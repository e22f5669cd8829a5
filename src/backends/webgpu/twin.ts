// The WebAssembly twin: the kernels that placement gave it, written by the WebAssembly back end from a program of their
// own. Each call is an entry without inputs or outputs; what it works on lies where the plan's buffers have an address.

import { dimSyms, type Sym, symDim } from '../../ir/dim.js';
import type { Kernel } from '../../ir/kernel.js';
import type { Program, ProgramBuffer, ProgramEntry } from '../../ir/program.js';
import { DTYPE_INFO } from '../../support/dtype.js';
import { invariant } from '../../support/errors.js';
import { emitWasm } from '../wasm/program.js';
import type { GpuBufferPlan } from './plan-types.js';
import { deviceBytes } from './shader.js';
import type { KernelStep } from './steps.js';

export interface TwinCall {
  readonly steps: readonly KernelStep[];
  /** Its arguments, in order. */
  readonly symbols: readonly Sym[];
}

export interface EmittedTwin {
  readonly module: Uint8Array;
  readonly pages: number;
  /** By position in the plan. */
  readonly addresses: ReadonlyMap<number, number>;
}

const align16 = (n: number): number => Math.ceil(n / 16) * 16;

/** A call of these kernels. */
export function twinCall(steps: readonly KernelStep[]): TwinCall {
  const symbols = new Map<string, Sym>();
  for (const s of steps) for (const d of [...s.dims, ...s.buffers.map((r) => r.offset)]) dimSyms(d, symbols);
  return { steps, symbols: [...symbols.values()].filter((s) => s.lo !== s.hi) };
}

/** `positionOf`: where a buffer of the program is in the plan; constants have no place in it, or one that does not count. */
export function emitTwin(
  program: Program,
  calls: readonly TwinCall[],
  plan: readonly GpuBufferPlan[],
  positionOf: (buffer: number) => number,
): EmittedTwin {
  const kernels: Kernel[] = [];
  const numbers = new Map<number, number>();
  const kernelFor = (k: number): number => {
    const known = numbers.get(k);
    if (known !== undefined) return known;
    const twin = program.kernels[k]?.twin;
    invariant(twin, 'only kernels with a twin are placed there');
    const made = kernels.push(twin.make()) - 1;
    numbers.set(k, made);
    return made;
  };
  const used = new Set(calls.flatMap((c) => c.steps.flatMap((s) => s.buffers.map((r) => r.buffer))));
  const buffers: ProgramBuffer[] = [];
  const offsets = new Map<number, number>();
  let [arenaBytes, weightBytes] = [0, 0];
  for (const b of program.buffers) {
    if (!used.has(b.id)) continue;
    if (b.place.kind === 'const') {
      buffers.push({ ...b, place: { ...b.place, offset: weightBytes } });
      weightBytes += align16(b.elements * DTYPE_INFO[b.dtype].bytes);
      continue;
    }
    const position = positionOf(b.id);
    const offset = offsets.get(position) ?? arenaBytes;
    if (!offsets.has(position)) {
      const held = plan[position];
      invariant(held, `no buffer ${position}`);
      arenaBytes += align16((held.bytes / deviceBytes(b.dtype)) * DTYPE_INFO[b.dtype].bytes);
    }
    offsets.set(position, offset);
    buffers.push({ ...b, place: { kind: 'arena', offset } });
  }
  const nothing = 1 + Math.max(0, ...program.buffers.map((b) => b.id));
  buffers.push({ id: nothing, name: 'sizes', dtype: 'u8', elements: 0, place: { kind: 'arena', offset: 0 } });
  // Sizes are what an entry reads off the shapes of its inputs: here one of no elements.
  const entries = calls.map(
    (c, k): ProgramEntry => ({
      name: `call_${k}`,
      inputs: [{ name: 'sizes', dtype: 'u8', shape: c.symbols.map(symDim), buffer: nothing }],
      outputs: [],
      steps: c.steps.map((s) => ({ ...s, kernel: kernelFor(s.kernel) })),
    }),
  );
  const { name, numerics } = program;
  const peak = { bytes: 0, origin: null };
  const { module, layout } = emitWasm(
    { name, numerics, kernels, buffers, entries, arenaBytes, stateBytes: 0, weightBytes, peak },
    { weights: 'inline' },
  );
  const addresses = new Map([...offsets].map(([position, offset]) => [position, layout.arena.address + offset]));
  return { module, pages: layout.pages, addresses };
}
