// A compiled network as the loops of speech models use it, on whatever it runs: between calls its results may stay on its
// device. Sessions and loaded artifacts become parts here.

import type { DeviceSession, DeviceTensor, RuntimeTensor, Session } from '../runtime/session.js';

export type PartTensor = RuntimeTensor | DeviceTensor;
export type PartTensors = Readonly<Record<string, PartTensor>>;

export interface Part {
  /** The outputs named in `stay` may be left on the device; who asked for them hands them to `release` in the end. */
  run(inputs: PartTensors, stay: readonly string[]): Promise<PartTensors>;
  /** Where it runs: parts of one device can hand each other what stayed there. */
  readonly device?: object | undefined;
  /** Waits until the device has done what it was asked to; `run` only waits for what it reads. */
  readonly settle?: (() => Promise<unknown>) | undefined;
}

/** What `load()` of a WebAssembly or WebGPU artifact gives. */
export interface LoadedModel {
  run(inputs: never, options: never): Promise<object>;
  readonly device?: object;
}

type Run = (inputs: PartTensors, options: { readonly outputs: readonly string[] }) => Promise<PartTensors>;

/** A loaded artifact as a part. */
export function modelPart(model: LoadedModel): Part {
  const run = model.run as Run;
  return { run: (inputs, stay) => run(inputs, { outputs: stay }), device: model.device, settle: settler(model.device) };
}

/** A session as a part. */
export function sessionPart(session: Session | DeviceSession): Part {
  if ('runOnDevice' in session) {
    const { device } = session;
    return { run: (inputs, stay) => session.runOnDevice(inputs, stay), device, settle: settler(device) };
  }
  return { run: (inputs) => session.run(inputs as Readonly<Record<string, RuntimeTensor>>) };
}

/** Of a GPUDevice. */
function settler(device: object | undefined): Part['settle'] {
  const { queue } = (device ?? {}) as { readonly queue?: { onSubmittedWorkDone(): Promise<unknown> } };
  return queue && (() => queue.onSubmittedWorkDone());
}

/** Frees what stayed on a device. */
export function release(tensors: PartTensors): void {
  for (const tensor of Object.values(tensors)) if ('buffer' in tensor) tensor.buffer.destroy();
}
