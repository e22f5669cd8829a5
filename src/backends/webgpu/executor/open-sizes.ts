/// <reference types="@webgpu/types" />
// Symbols whose value data decide on the device: nobody waits for them. The count is copied aside, and one small dispatch
// works out, for all dispatches that follow, their sizes and numbers of workgroups (size-shader.ts). What must know a
// value here, such as the shape of an output, reads it with whatever else it reads.

import type { GpuPart, GpuPlan, GpuStep } from '../plan-types.js';
import type { Commands, Range } from './commands.js';
import type { Environment, OpenSymbol, Sizes } from './sizes.js';

type Bound = (GpuStep & { do: 'bind' })['sym'];

export interface OpenSizes {
  /** By name. */
  readonly open: ReadonlyMap<string, OpenSymbol>;
  /** The symbol's value is the integer at this byte of a buffer, from here on; false where there is no room for more. */
  add(sym: Bound, buffer: GPUBuffer, byte: number, wide: boolean): boolean;
  /** The value of a symbol that is bound again, and known. */
  close(name: string): void;
  /** Has the device fill a slot; false where there is no room, or the sizes are too deep for it. */
  size(slot: number, parts: readonly GpuPart[], env: Environment): boolean;
  /** Workgroups of the dispatch with this slot. */
  readonly groups: GPUBuffer | null;
  groupsAt(slot: number): number;
  /** What to read to know all that are open, and what to do with it. Throws where a checked one is out of its bounds. */
  ranges(): readonly Range[];
  settle(parts: readonly ArrayBuffer[], env: Map<string, number>): void;
  restart(): void;
  destroy(): void;
}

export async function createOpenSizes(
  device: GPUDevice,
  plan: GpuPlan,
  commands: Commands,
  sizes: Sizes,
): Promise<OpenSizes> {
  const [INDIRECT, UNIFORM, STORAGE] = [0x100, 0x40, 0x80];
  const [COPY_SRC, COPY_DST] = [0x4, 0x8];
  const [SLOT, SLOTS, SYMBOLS, BATCHES, ROOM] = [256, 1024, 256, 64, 1 << 15];
  const DEPTH = 30;
  const shader = plan.sizes;
  const make = (size: number, usage: number): GPUBuffer => device.createBuffer({ size, usage });
  const made = shader && {
    counts: make(8 * SYMBOLS, STORAGE | COPY_SRC | COPY_DST),
    instructions: make(4 * ROOM, STORAGE | COPY_DST),
    batches: make(SLOT * BATCHES, UNIFORM | COPY_DST),
    groups: make(16 * SLOTS, STORAGE | INDIRECT),
    pipeline: await device.createComputePipelineAsync({
      label: 'sizes',
      layout: device.createPipelineLayout({
        bindGroupLayouts: [
          device.createBindGroupLayout({
            entries: (['uniform', 'read-only-storage', 'read-only-storage', 'storage', 'storage'] as const).map(
              (type, binding) => ({ binding, visibility: 0x4, buffer: { type, hasDynamicOffset: binding === 0 } }),
            ),
          }),
        ],
      }),
      compute: { module: device.createShaderModule({ label: 'sizes', code: shader.code }), entryPoint: 'main' },
    }),
  };
  const group =
    made &&
    device.createBindGroup({
      layout: made.pipeline.getBindGroupLayout(0),
      entries: [
        { binding: 0, resource: { buffer: made.batches, size: SLOT } },
        { binding: 1, resource: { buffer: made.instructions } },
        { binding: 2, resource: { buffer: made.counts } },
        { binding: 3, resource: { buffer: commands.uniforms } },
        { binding: 4, resource: { buffer: made.groups } },
      ],
    });
  const instructions = new Int32Array(ROOM);
  const batches = new Uint32Array((SLOT * BATCHES) / 4);
  const open = new Map<string, OpenSymbol & { readonly sym: Bound }>();
  const slots = new Map<string, number>();
  let used = 0;
  let batch = -1;
  let isCurrent = false;
  commands.onSubmit.push(() => {
    if (!made || batch < 0) return;
    device.queue.writeBuffer(made.instructions, 0, instructions, 0, used);
    device.queue.writeBuffer(made.batches, 0, batches, 0, ((batch + 1) * SLOT) / 4);
    used = 0;
    batch = -1;
    isCurrent = false;
  });
  /** The dispatch for the jobs that follow. */
  const startBatch = (): void => {
    if (isCurrent || !made || !group) return;
    batch++;
    isCurrent = true;
    batches.set([used, 0, device.limits.maxComputeWorkgroupsPerDimension], (batch * SLOT) / 4);
    const pass = commands.pass();
    pass.setPipeline(made.pipeline);
    pass.setBindGroup(0, group, [batch * SLOT]);
    pass.dispatchWorkgroups(1);
    commands.counts.dispatches++;
  };
  const write = (slot: number, parts: readonly GpuPart[], env: Environment): readonly number[] | null => {
    const out: number[] = [slot];
    const code = (name: string): number => (shader?.instructions ?? []).indexOf(name);
    let depth = 0;
    for (const p of parts) {
      depth = Math.max(depth, sizes.write(p.count ?? 1, env, open, out));
      out.push(code('part'), p.count === null || p.shared ? 1 : 0);
      for (const s of p.sizes) {
        depth = Math.max(depth, sizes.write(s, env, open, out));
        out.push(code('word'));
      }
    }
    return depth > DEPTH ? null : out;
  };
  return {
    open,
    add(sym, buffer, byte, wide) {
      const at = slots.get(sym.name) ?? slots.size;
      if (!made || at >= SYMBOLS) return false;
      slots.set(sym.name, at);
      commands.copy(buffer, byte, made.counts, 8 * at, wide ? 8 : 4);
      open.set(sym.name, { at, wide, lo: sym.lo, hi: sym.hi, sym });
      isCurrent = false;
      return true;
    },
    close: (name) => void open.delete(name),
    size(slot, parts, env) {
      const job = write(slot, parts, env);
      const isFull = !job || used + job.length + 1 > ROOM || (!isCurrent && batch + 1 === BATCHES);
      if (isFull) return false;
      startBatch();
      const word = (batch * SLOT) / 4 + 1;
      batches[word] = (batches[word] as number) + 1;
      instructions[used] = used + 1 + job.length;
      instructions.set(job, used + 1);
      used += 1 + job.length;
      return true;
    },
    groups: made?.groups ?? null,
    groupsAt: (slot) => 16 * slot,
    ranges: () =>
      made
        ? [...open.values()].map(({ at, wide }) => ({ buffer: made.counts, offset: 8 * at, bytes: wide ? 8 : 4 }))
        : [],
    settle(parts, env) {
      [...open.values()].forEach(({ sym, wide }, k) => {
        const part = parts[k] as ArrayBuffer;
        const value = Number(wide ? new BigInt64Array(part)[0] : new Int32Array(part)[0]);
        if (sym.checked && !(value >= sym.lo && value <= sym.hi))
          throw new Error(
            `E402 the data ask for a size "${sym.name}" of ${value}, and the program is made for ${sym.lo} to ${sym.hi}`,
          );
        env.set(sym.name, Math.min(sym.hi, Math.max(sym.lo, value)));
      });
      open.clear();
    },
    restart() {
      open.clear();
      used = 0;
      batch = -1;
      isCurrent = false;
    },
    destroy() {
      for (const b of made ? [made.counts, made.instructions, made.batches, made.groups] : []) b.destroy();
    },
  };
}
