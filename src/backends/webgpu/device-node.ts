/// <reference types="@webgpu/types" />
// A WebGPU device in Node, by the npm package `webgpu` (Dawn), which users install where they want it. One device a
// process or thread; the null back end validates shaders anywhere and runs nothing.

import { CompileError } from '../../support/errors.js';

interface Dawn {
  readonly create: (options: string[]) => GPU;
  readonly globals: object;
}

/** What kernels make use of where there is it. */
const FEATURES: readonly GPUFeatureName[] = ['subgroups'];

/** E404 where the package or an adapter is missing. `features`: those of a device with as little as possible are none. */
export async function openDevice(options: readonly string[] = [], features = FEATURES): Promise<GPUDevice> {
  const dawn = await loadDawn();
  Object.assign(globalThis, dawn.globals);
  const gpu = dawn.create([...options]);
  keepAlive.push(gpu);
  const adapter = await gpu.requestAdapter();
  if (!adapter)
    throw new CompileError('E404', 'no WebGPU adapter was found', {
      hint: 'A GPU driver with Vulkan, Metal or D3D12 is needed; VK_ICD_FILENAMES can name a software driver',
    });
  const { maxStorageBuffersPerShaderStage, maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
  return adapter.requestDevice({
    requiredFeatures: features.filter((f) => adapter.features.has(f)),
    requiredLimits: { maxStorageBuffersPerShaderStage, maxStorageBufferBindingSize, maxBufferSize },
  });
}

/** The package's GPU object must outlive its devices. */
const keepAlive: GPU[] = [];

async function loadDawn(): Promise<Dawn> {
  const name = 'webgpu';
  try {
    return (await import(name)) as Dawn;
  } catch (cause) {
    throw new CompileError('E404', `the package "webgpu" cannot be loaded: ${(cause as Error).message}`, {
      hint: 'npm install webgpu',
    });
  }
}

let shared: Promise<GPUDevice> | undefined;

/** The thread's own device, made when first asked for and again after it was lost. */
export function sharedDevice(): Promise<GPUDevice> {
  if (shared) return shared;
  shared = openDevice().then((device) => {
    void device.lost.then(() => {
      shared = undefined;
    });
    return device;
  });
  shared.catch(() => {
    shared = undefined;
  });
  return shared;
}
