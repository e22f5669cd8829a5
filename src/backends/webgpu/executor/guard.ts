/// <reference types="@webgpu/types" />
// What goes wrong on a device comes back as an error that says so: its loss, lack of memory, and whatever validation finds.

export interface Guard {
  /** Runs `work`, then throws what the device reported meanwhile; `what` opens the message. */
  check<T>(what: string, work: () => Promise<T> | T): Promise<T>;
}

export function createGuard(device: GPUDevice): Guard {
  let lost = '';
  void device.lost.then((info) => {
    lost = `the GPU device was lost: ${info.message || info.reason}`;
  });
  return {
    async check<T>(what: string, work: () => Promise<T> | T): Promise<T> {
      if (lost) throw new Error(lost);
      for (const scope of ['validation', 'out-of-memory', 'internal'] as const) device.pushErrorScope(scope);
      let result: T | undefined;
      let failure: unknown;
      try {
        result = await work();
      } catch (e) {
        failure = e;
      }
      const errors = await Promise.all([0, 1, 2].map(() => device.popErrorScope().catch(() => null)));
      if (lost) throw new Error(lost);
      const [, memory, other] = errors;
      if (memory) throw new Error(`${what}: the GPU is out of memory: ${memory.message}`);
      const error = other ?? errors[0];
      if (error) throw new Error(`${what}: ${error.message}`);
      if (failure !== undefined) throw failure;
      return result as T;
    },
  };
}
