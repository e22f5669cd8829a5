/// <reference types="@webgpu/types" />
// A Program run on a WebGPU device in this process: tests, the command line and `verify` use it. What is shipped to users
// is the same executor, as text, in artifact.ts.

import type { Program, Step } from '../../ir/program.js';
import type { RuntimeTensor, Session } from '../../runtime/session.js';
import { CompileError, invariant } from '../../support/errors.js';
import type { Tensor } from '../../support/tensor.js';
import { describeEntry, findEntry, solveInputs } from '../entry-spec.js';
import { createExecutor, type HostFunction, type RunCounts } from './executor.js';
import { checkLimits, planProgram } from './plan.js';

export interface WebGpuSession extends Session {
  /** What the last run came to. */
  counts(): RunCounts;
}

/** Throws E301 or E302 where the target or this device cannot run the program. The device stays the caller's. */
export async function createWebGpuSession(program: Program, device: GPUDevice): Promise<WebGpuSession> {
  const { plan, weights } = planProgram(program);
  checkLimits(plan, device.limits);
  const hosts = hostCalls(program.entries.flatMap((e) => e.steps));
  const executor = await createExecutor(device, plan, weights, { hosts });
  const specs = program.entries.map(describeEntry);
  let open = true;
  return {
    async run(inputs, name) {
      if (!open) throw new CompileError('E402', 'the session is closed');
      const index = findEntry(program, name);
      const [spec, entry] = [specs[index], plan.entries[index]];
      invariant(spec && entry, `no entry ${index}`);
      const symbols = solveInputs(spec, inputs);
      const data = entry.inputs.map((v) => (inputs[v.name] as RuntimeTensor).data);
      const outputs = await executor.run(entry, data, symbols);
      return Object.fromEntries(entry.outputs.map((v, k) => [v.name, outputs[k] as RuntimeTensor]));
    },
    async reset() {
      executor.reset();
    },
    async close() {
      if (open) executor.destroy();
      open = false;
    },
    counts: () => executor.counts(),
  };
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
