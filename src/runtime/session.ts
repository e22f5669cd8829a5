// What running a compiled model looks like, whatever the target: named tensors in, named tensors out.
// Sessions own their state and arena; two sessions never share anything that changes.

/** A tensor as the shipped runtime sees it. Same layout as the compiler's Tensor. */
export interface RuntimeTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView | readonly string[];
}

/** A GPUBuffer by what matters of it, so that a project without WebGPU's types can compile. */
export interface DeviceBuffer {
  readonly size: number;
  mapAsync(mode: number): Promise<unknown>;
  destroy(): void;
}

/** A tensor on a device, row-major, f64 held in f32. Who gets one destroys its buffer. */
export interface DeviceTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly buffer: DeviceBuffer;
}

export interface Session {
  /** Runs one entry (default: the first). Inputs by name; throws where a shape or type does not fit. Outputs are fresh copies. */
  run(inputs: Readonly<Record<string, RuntimeTensor>>, entry?: string): Promise<Record<string, RuntimeTensor>>;
  /** Puts every state buffer back to its initial contents. */
  reset(): Promise<void>;
  /** Frees what the session holds (memory, child process). */
  close(): Promise<void>;
}
