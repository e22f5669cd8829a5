/// <reference types="@webgpu/types" />
// Pipelines, made at load without blocking, and the dispatches of a run: sizes go into a slot of the uniforms, from here or,
// where data decide them, from the device itself.

import type { GpuPart, GpuPipelinePlan, GpuPlan, GpuStep } from '../plan-types.js';
import type { Commands } from './commands.js';
import type { OpenSizes } from './open-sizes.js';
import type { Environment, Sizes } from './sizes.js';
import type { Stores } from './stores.js';

type RunStep = GpuStep & { do: 'run' };

export interface Pipelines {
  readonly all: readonly GPUComputePipeline[];
}

export async function createPipelines(
  device: GPUDevice,
  plans: readonly GpuPipelinePlan[],
  onProgress: (done: number, total: number) => void,
): Promise<Pipelines> {
  const COMPUTE = 0x4;
  let ready = 0;
  const make = async ({ name, code, access, subgroups }: GpuPipelinePlan): Promise<GPUComputePipeline> => {
    const bindings: GPUBindGroupLayoutEntry[] = access.map((a, i) => ({
      binding: i + 1,
      visibility: COMPUTE,
      buffer: { type: a === 'write' ? 'storage' : 'read-only-storage' },
    }));
    const layout = device.createBindGroupLayout({
      entries: [{ binding: 0, visibility: COMPUTE, buffer: { type: 'uniform', hasDynamicOffset: true } }, ...bindings],
    });
    const pipelineLayout = device.createPipelineLayout({ bindGroupLayouts: [layout] });
    const compile = (text: string): Promise<GPUComputePipeline> =>
      device.createComputePipelineAsync({
        label: name,
        layout: pipelineLayout,
        compute: { module: device.createShaderModule({ label: name, code: text }), entryPoint: 'main' },
      });
    /** Null where there are none, or the text does not compile: a browser may have the feature and lack a part of the language. */
    const bySubgroups = async (): Promise<GPUComputePipeline | null> => {
      if (!subgroups || !device.features?.has('subgroups')) return null;
      device.pushErrorScope('validation');
      const made = compile(subgroups.reduce((text, [from, to]) => text.replace(from, () => to), code)).catch(
        () => null,
      );
      const error = device.popErrorScope();
      const found = await made;
      return (await error) === null ? found : null;
    };
    const pipeline = (await bySubgroups()) ?? (await compile(code));
    onProgress(++ready, plans.length);
    return pipeline;
  };
  return { all: await Promise.all(plans.map(make)) };
}

export interface Dispatches {
  /** Encodes it; false where the host must know the open sizes first. */
  run(step: RunStep, env: Environment): boolean;
}

export function createDispatches(
  device: GPUDevice,
  plan: GpuPlan,
  pipelines: readonly GPUComputePipeline[],
  commands: Commands,
  stores: Stores,
  sizes: Sizes,
  symbols: OpenSizes,
): Dispatches {
  const [WORKGROUP, SLOT] = [64, 256];
  const groups = new WeakMap<GpuStep, GPUBindGroup>();
  const groupOf = (step: RunStep): GPUBindGroup => {
    const known = groups.get(step);
    if (known) return known;
    const made = device.createBindGroup({
      layout: (pipelines[step.pipeline] as GPUComputePipeline).getBindGroupLayout(0),
      entries: [
        { binding: 0, resource: { buffer: commands.uniforms, size: SLOT } },
        ...step.buffers.map((b, k) => ({ binding: k + 1, resource: { buffer: stores.onDevice(b) } })),
      ],
    });
    groups.set(step, made);
    return made;
  };

  const isOpen = (step: RunStep): boolean => {
    const { open } = symbols;
    if (open.size === 0) return false;
    return step.parts.some((p) => [p.count ?? 1, ...p.sizes].some((s) => sizes.isOpen(s, open)));
  };
  /** Fills a slot from here; gives back the workgroups. */
  const fill = (slot: number, parts: readonly { count: number; groups: number; sizes: readonly number[] }[]) => {
    const { words } = commands;
    const needed = parts.reduce((n, p) => n + p.groups, 0);
    const rows = Math.ceil(needed / device.limits.maxComputeWorkgroupsPerDimension);
    const width = Math.ceil(needed / rows);
    let at = (slot * SLOT) / 4;
    let end = 0;
    words[at++] = width;
    for (const p of parts) {
      end += p.groups;
      words[at++] = end;
      words[at++] = p.count;
      for (const s of p.sizes) words[at++] = s;
    }
    return { width, rows };
  };
  const evaluate = (p: GpuPart, env: Environment) => {
    const count = p.count === null ? 1 : Math.max(0, sizes.evaluate(p.count, env));
    return {
      count,
      groups: p.count === null || p.shared ? count : Math.ceil(count / WORKGROUP),
      sizes: p.sizes.map((s) => sizes.evaluate(s, env)),
    };
  };
  /** The slot that the device fills; -1 where it cannot. */
  const fillThere = (step: RunStep, env: Environment): number => {
    for (let tries = 0; tries < 2; tries++) {
      const slot = commands.takeSlot();
      if (symbols.size(slot, step.parts, env)) return slot;
      commands.submit();
    }
    return -1;
  };

  const encode = (step: RunStep, slot: number, size: { width: number; rows: number } | GPUBuffer): void => {
    for (const b of step.buffers) stores.useOnDevice(b);
    for (const [from, into, start, bytes] of step.gather ?? [])
      commands.copy(stores.onDevice(from), 0, stores.onDevice(into), start, bytes);
    const pass = commands.pass();
    pass.setPipeline(pipelines[step.pipeline] as GPUComputePipeline);
    pass.setBindGroup(0, groupOf(step), [slot * SLOT]);
    if ('rows' in size) pass.dispatchWorkgroups(size.width, size.rows);
    else pass.dispatchWorkgroupsIndirect(size, symbols.groupsAt(slot));
    commands.counts.dispatches++;
  };

  /** What it writes, as far as the host can tell. */
  const learn = (step: RunStep, env: Environment): void => {
    const learned = (step.known ?? []).map(([b, index, value]) => {
      const of = typeof value === 'object' && 'of' in value ? value.of : null;
      const used = of ? [index, of[1]] : [index, value as GpuPart['sizes'][number]];
      if (used.some((s) => sizes.isOpen(s, symbols.open))) return { b, index: 0, value: undefined };
      return {
        b,
        index: sizes.evaluate(index, env),
        value: of ? stores.recall(of[0], sizes.evaluate(of[1], env)) : sizes.evaluate(used[1] as never, env),
      };
    });
    const { access } = plan.pipelines[step.pipeline] as GpuPipelinePlan;
    step.buffers.forEach((b, k) => {
      if (access[k] === 'write') stores.changed(b, 'device');
    });
    for (const { b, index, value } of learned) if (value !== undefined) stores.learn(b, index, value);
  };

  return {
    run(step, env) {
      // Contents that come from the twin may need all that is encoded to be submitted: before a slot is taken.
      for (const b of [...step.buffers, ...(step.gather ?? []).map(([from]) => from)]) stores.useOnDevice(b);
      if (isOpen(step)) {
        const slot = fillThere(step, env);
        if (slot < 0 || !symbols.groups) return false;
        encode(step, slot, symbols.groups);
      } else {
        const parts = step.parts.map((p) => evaluate(p, env));
        if (parts.every((p) => p.groups === 0)) return true;
        const slot = commands.takeSlot();
        encode(step, slot, fill(slot, parts));
      }
      learn(step, env);
      return true;
    },
  };
}
