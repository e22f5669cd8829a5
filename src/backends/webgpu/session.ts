/// <reference types="@webgpu/types" />
// A Program run on a WebGPU device in this process: tests, the command line and `verify` use it. What is shipped to users
// is the same executor, as text, in artifact.ts.

import type { Program, Step } from '../../ir/program.js';
import type { DeviceSession, DeviceTensor, RuntimeTensor } from '../../runtime/session.js';
import { CompileError, invariant } from '../../support/errors.js';
import type { Tensor } from '../../support/tensor.js';
import { describeEntry, findEntry, solveInputs } from '../entry-spec.js';
import { createExecutor, type HostFunction } from './executor/executor.js';
import type { Twin } from './executor/stores.js';
import { EXECUTOR_PARTS } from './executor/text.js';
import { type CompiledPlan, checkLimits, planProgram } from './plan.js';
import type { GpuStep, RunCounts } from './plan-types.js';

export interface WebGpuSession extends DeviceSession {
  readonly device: WebGpuDevice;
  /** What the last run came to: `readbacks` are the waits for the device within it, the outputs not among them. */
  counts(): RunCounts;
}

/** A GPUDevice; not named so, for projects without WebGPU's types. */
export interface WebGpuDevice {
  readonly queue: object;
  readonly limits: object;
  readonly lost: Promise<unknown>;
}

/** Throws E301 or E302 where the target or this device cannot run the program. The device stays the caller's. */
export const createWebGpuSession = (program: Program, device: WebGpuDevice): Promise<WebGpuSession> =>
  openPlan(program, planProgram(program), device);

/** A session of a program that is planned; `onStep` hears when the device is through with a step. */
export async function openPlan(
  program: Program,
  planned: CompiledPlan,
  gpu: WebGpuDevice,
  onStep?: (step: GpuStep | null) => void,
): Promise<WebGpuSession> {
  const device = gpu as GPUDevice;
  const { plan, weights, twin: module } = planned;
  checkLimits(plan, device.limits);
  const twin = module ? await openTwin(module, plan.twinPages ?? 1) : undefined;
  const hosts = hostCalls(program.entries.flatMap((e) => e.steps));
  const executor = await createExecutor(EXECUTOR_PARTS, device, plan, weights, { hosts, twin, onStep });
  const specs = program.entries.map(describeEntry);
  let open = true;
  const runOnDevice: WebGpuSession['runOnDevice'] = async (inputs, stay, name) => {
    if (!open) throw new CompileError('E402', 'the session is closed');
    const index = findEntry(program, name);
    const [spec, entry] = [specs[index], plan.entries[index]];
    invariant(spec && entry, `no entry ${index}`);
    const symbols = solveInputs(spec, inputs);
    const data = entry.inputs.map((v) => {
      const tensor = inputs[v.name] as RuntimeTensor | DeviceTensor;
      return 'buffer' in tensor ? (tensor.buffer as GPUBuffer) : tensor.data;
    });
    const stays = entry.outputs.map((v) => stay.includes(v.name));
    const outputs = await executor.run(entry, data, symbols, stays);
    return Object.fromEntries(entry.outputs.map((v, k) => [v.name, outputs[k] as RuntimeTensor | DeviceTensor]));
  };
  return {
    run: async (inputs, name) => (await runOnDevice(inputs, [], name)) as Record<string, RuntimeTensor>,
    runOnDevice,
    async reset() {
      executor.reset();
    },
    async close() {
      if (open) executor.destroy();
      open = false;
    },
    device,
    counts: () => executor.counts(),
  };
}

async function openTwin(module: Uint8Array, pages: number): Promise<Twin> {
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const { instance } = await WebAssembly.instantiate(module.slice(), { env: { memory } });
  const call = (index: number, ...symbols: readonly number[]): void =>
    (instance.exports[`call_${index}`] as (...symbols: readonly number[]) => void)(...symbols);
  return { memory, call };
}

/** The functions of host steps, in the order in which the plan numbers them. */
function hostCalls(steps: readonly Step[]): readonly HostFunction[] {
  return steps.flatMap((s): readonly HostFunction[] => {
    if (s.kind === 'host') return [(inputs) => s.call(inputs as readonly Tensor[]) as readonly RuntimeTensor[]];
    if (s.kind === 'if') return [...hostCalls(s.then), ...hostCalls(s.else)];
    if (s.kind === 'loop') return hostCalls(s.body);
    return s.kind === 'while' ? [...hostCalls(s.test), ...hostCalls(s.body)] : [];
  });
}
