// A WebGPU device for tests: of a real adapter, or of the software driver that comes with Chromium. Where there is neither
// tests are skipped, and say so. The null device of the same package validates shaders anywhere.

import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { openDevice } from '../../src/backends/webgpu/device-node.js';
import type { GpuPipelinePlan } from '../../src/backends/webgpu/plan-types.js';

const DRIVER = join('lib', 'chromium', 'vk_swiftshader_icd.json');

function findDriver(): string | undefined {
  const places = (process.env.PATH ?? '').split(delimiter).map((dir) => join(dir, '..', DRIVER));
  return places.find((p) => existsSync(p));
}

process.env.VK_ICD_FILENAMES ??= findDriver();

/** null, with a line on stderr, where nothing can run. */
export async function tryDevice(): Promise<GPUDevice | null> {
  try {
    return await openDevice();
  } catch (e) {
    process.stderr.write(`SKIPPED: WebGPU tests, as ${(e as Error).message}\n`);
    return null;
  }
}

export const nullDevice = (): Promise<GPUDevice> => openDevice(['backend=null']);

/** What the compiler has to say about a shader, warnings included. */
export async function shaderMessages(device: GPUDevice, code: string): Promise<string[]> {
  device.pushErrorScope('validation');
  const info = await device.createShaderModule({ code }).getCompilationInfo();
  await device.popErrorScope();
  return info.messages.map((m) => `${m.type} ${m.lineNum}:${m.linePos} ${m.message}`);
}

/** A pipeline's text as a device with subgroups has it. */
export const swapped = ({ code, subgroups }: GpuPipelinePlan): string =>
  (subgroups ?? []).reduce((text, [from, to]) => text.replace(from, () => to), code);
