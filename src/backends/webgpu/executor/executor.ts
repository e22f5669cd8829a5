/// <reference types="@webgpu/types" />
// Runs a plan on a device. One command encoder collects the dispatches of a run; it is submitted before anything is read
// back: the outputs, and on the way what the host must know (steps.ts). The files of this folder import types only and
// keep nothing outside of their one function, so their texts are what a shipped model.mjs contains (text.ts).

import type { DeviceTensor } from '../../../runtime/session.js';
import type { GpuEntryPlan, GpuHostValue, GpuPlan, GpuStep, RunCounts } from '../plan-types.js';
import type { createCommands } from './commands.js';
import type { createDispatches, createPipelines } from './dispatch.js';
import type { createElements } from './elements.js';
import type { createGuard } from './guard.js';
import type { createOpenSizes } from './open-sizes.js';
import type { createSizes } from './sizes.js';
import type { createSteps } from './steps.js';
import type { createStores, Twin } from './stores.js';
import type { createContents, WeightSource } from './weights.js';

/** A host step's tensor as it is passed: f64 is f64 again. */
export interface HostTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView | readonly string[];
}

export type HostFunction = (inputs: readonly HostTensor[]) => readonly { readonly data: HostTensor['data'] }[];

type Input = ArrayBufferView | readonly string[] | GPUBuffer;

export interface Executor {
  /**
   * Inputs by position: elements, strings, or a buffer of this device; outputs likewise, with their shapes. Those that
   * `stays` marks are left on the device (f64 held in f32), the others are read back together; none, and nobody waits.
   */
  run(
    entry: GpuEntryPlan,
    inputs: readonly Input[],
    symbols: ReadonlyMap<string, number>,
    stays?: readonly boolean[],
  ): Promise<readonly (HostTensor | DeviceTensor)[]>;
  reset(): void;
  destroy(): void;
  counts(): RunCounts;
}

export interface ExecutorOptions {
  /** Function of host step k. */
  readonly hosts?: readonly HostFunction[];
  /** Where the plan has one. */
  readonly twin?: Twin | undefined;
  /** Hears how many of all pipelines are ready. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** Hears of each step that computes something once the device has done it, which is waited for; null: of the inputs. */
  readonly onStep?: ((step: GpuStep | null) => void) | undefined;
}

/** The other files of this folder. */
export interface ExecutorParts {
  readonly createElements: typeof createElements;
  readonly createSizes: typeof createSizes;
  readonly createGuard: typeof createGuard;
  readonly createCommands: typeof createCommands;
  readonly createContents: typeof createContents;
  readonly createStores: typeof createStores;
  readonly createOpenSizes: typeof createOpenSizes;
  readonly createPipelines: typeof createPipelines;
  readonly createDispatches: typeof createDispatches;
  readonly createSteps: typeof createSteps;
}

export async function createExecutor(
  parts: ExecutorParts,
  device: GPUDevice,
  plan: GpuPlan,
  weights: WeightSource,
  { hosts = [], twin, onProgress = () => undefined, onStep }: ExecutorOptions = {},
): Promise<Executor> {
  const [COPY_SRC, COPY_DST, STORAGE] = [0x4, 0x8, 0x80];
  const elements = parts.createElements();
  const sizes = parts.createSizes(plan.sizes?.instructions ?? []);
  const guard = parts.createGuard(device);
  const contents = parts.createContents(plan.buffers);
  const made: { destroy(): void }[] = [];
  const keep = <T extends { destroy(): void }>(part: T): T => {
    made.push(part);
    return part;
  };
  const destroy = (): void => {
    for (const part of made) part.destroy();
  };
  const load = async () => {
    const commands = keep(parts.createCommands(device));
    const stores = keep(parts.createStores(device, plan, elements, commands, contents.kept, twin));
    const [symbols, pipelines] = await Promise.all([
      parts.createOpenSizes(device, plan, commands, sizes).then(keep),
      parts.createPipelines(device, plan.pipelines, onProgress),
      contents.load(weights, (buffer, at, bytes) => commands.write(stores.onDevice(buffer), at, bytes)),
    ]);
    if (twin) stores.reset();
    return { commands, stores, symbols, pipelines };
  };
  const loading = guard.check('loading the model', load);
  loading.catch(destroy);
  const { commands, stores, symbols, pipelines } = await loading;
  const dispatches = parts.createDispatches(device, plan, pipelines.all, commands, stores, sizes, symbols);
  const after =
    onStep &&
    (async (step: GpuStep | null): Promise<void> => {
      commands.submit();
      await device.queue.onSubmittedWorkDone();
      onStep(step);
    });
  const steps = parts.createSteps(plan, elements, sizes, commands, stores, symbols, dispatches, hosts, twin, after);

  type Value = GpuEntryPlan['inputs'][number];
  const feed = async (v: Value, data: Input, env: ReadonlyMap<string, number>): Promise<void> => {
    if (ArrayBuffer.isView(data)) return stores.give(v.buffer, data);
    if (Array.isArray(data)) return void steps.strings.set(v.buffer, data as readonly string[]);
    const bytes = elements.volume(v.shape.map((s) => sizes.evaluate(s, env))) * elements.deviceBytes(v.dtype);
    const given = data as GPUBuffer;
    if (plan.buffers[v.buffer]?.kind === 'twin') {
      commands.counts.readbacks++;
      const [read] = await commands.read([{ buffer: given, offset: 0, bytes }]);
      return stores.give(v.buffer, elements.fromDevice(v.dtype, read as ArrayBuffer));
    }
    commands.touched.add(v.buffer);
    commands.copy(given, 0, stores.onDevice(v.buffer), 0, Math.ceil(bytes / 4) * 4);
    stores.changed(v.buffer, 'device');
  };

  const keepOutput = (v: Value, env: ReadonlyMap<string, number>): DeviceTensor => {
    const shape = v.shape.map((s) => sizes.evaluate(s, env));
    const size = elements.volume(shape) * elements.deviceBytes(v.dtype);
    const bytes = Math.max(4, Math.ceil(size / 4) * 4);
    const buffer = device.createBuffer({ label: v.name, size: bytes, usage: STORAGE | COPY_SRC | COPY_DST });
    const own = stores.bytesOfTwin(v.buffer, elements.volume(shape));
    if (own) commands.write(buffer, 0, own);
    else commands.copy(stores.onDevice(v.buffer), 0, buffer, 0, bytes);
    return { dtype: v.dtype, shape, buffer };
  };

  const runEntry = async (
    entry: GpuEntryPlan,
    inputs: readonly Input[],
    given: ReadonlyMap<string, number>,
    stays: readonly boolean[],
  ): Promise<readonly (HostTensor | DeviceTensor)[]> => {
    commands.restart();
    stores.restart();
    symbols.restart();
    const env = new Map(given);
    for (const [k, v] of entry.inputs.entries()) {
      const data = inputs[k];
      if (data !== undefined) await feed(v, data, env);
    }
    await after?.(null);
    await steps.run(entry.steps, env);
    const isKept = entry.outputs.map((v, k) => stays[k] === true && v.dtype !== 'string');
    const isOpen = (v: Value): boolean => v.shape.some((s) => sizes.isOpen(s, symbols.open));
    if (isKept.every(Boolean) || entry.outputs.some((v, k) => isKept[k] && isOpen(v))) await steps.settle(env);
    const kept = entry.outputs.map((v, k) => (isKept[k] ? keepOutput(v, env) : null));
    const wanted = entry.outputs.filter((_, k) => !kept[k]);
    const values = await steps.values(
      wanted.map((v): GpuHostValue => [v.buffer, 0, v.dtype, v.shape]),
      env,
    );
    let next = 0;
    return kept.map((k) => k ?? (values[next++] as HostTensor));
  };

  /** One run at a time: they share the encoder and every buffer. */
  let last: Promise<unknown> = Promise.resolve();
  return {
    run(entry, inputs, given, stays = []) {
      const next = last.then(() => guard.check(`running "${entry.name}"`, () => runEntry(entry, inputs, given, stays)));
      last = next.catch(() => undefined);
      return next;
    },
    reset: () => stores.reset(),
    destroy,
    counts: () => ({ ...commands.counts }),
  };
}
