// What running a compiled model looks like, whatever the target: named tensors in, named tensors out.
// Sessions own their state and arena; two sessions never share anything that changes.

/** A tensor as the shipped runtime sees it. Same layout as the compiler's Tensor. */
export interface RuntimeTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView | readonly string[];
}

/** Memory of a device by what matters of it: a GPUBuffer, a stretch of WebAssembly's memory. */
export interface DeviceBuffer {
  readonly size: number;
  destroy(): void;
}

/** A tensor where it was computed, row-major; on a GPU f64 is held in f32. Who gets one destroys its buffer. */
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

/** A session whose results may stay where they are between calls. */
export interface DeviceSession extends Session {
  /** Like `run`, but inputs may be on the device already, and the outputs named in `stay` are left there. */
  runOnDevice(
    inputs: Readonly<Record<string, RuntimeTensor | DeviceTensor>>,
    stay: readonly string[],
    entry?: string,
  ): Promise<Record<string, RuntimeTensor | DeviceTensor>>;
  /** Sessions of one device can hand each other what stayed there. */
  readonly device: object;
}
