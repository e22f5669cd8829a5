/// <reference types="@webgpu/types" />
// First contents of buffers, written as they arrive: a stretch of the weight file goes to the buffers it belongs to and is
// kept nowhere else. What is wanted again stays at hand: state, for a reset, and numbers the host may need.

import type { GpuBufferPlan } from '../plan-types.js';

/** All of the weights, or a function that passes on stretches of them, in order. */
export type WeightSource = Uint8Array | Promise<Uint8Array> | ((take: (bytes: Uint8Array) => void) => Promise<unknown>);

export interface Contents {
  /** By position of the buffer. */
  readonly kept: ReadonlyMap<number, Uint8Array<ArrayBuffer>>;
  load(
    source: WeightSource,
    write: (buffer: number, at: number, bytes: Uint8Array<ArrayBuffer>) => void,
  ): Promise<void>;
}

export function createContents(plans: readonly GpuBufferPlan[]): Contents {
  /** So few bytes are kept whatever they are; more only of types that counts and conditions have. */
  const SMALL = 1024;
  const COUNTS = /^([iu](32|64)|i1)$/;
  const kept = new Map<number, Uint8Array<ArrayBuffer>>();
  const filled = plans.flatMap(({ data, kind, dtype }, buffer) => {
    if (!data) return [];
    const [start, bytes] = data;
    if (kind === 'state' || bytes <= SMALL || COUNTS.test(dtype)) kept.set(buffer, new Uint8Array(bytes));
    return [{ buffer, start, end: start + Math.ceil(bytes / 4) * 4, bytes }];
  });
  return {
    kept,
    async load(source, write) {
      let at = 0;
      let rest = new Uint8Array(0);
      /** Buffers take whole words, and start at them. */
      const put = (bytes: Uint8Array<ArrayBuffer>): void => {
        for (const { buffer, start, end, bytes: size } of filled) {
          const [from, to] = [Math.max(at, start), Math.min(at + bytes.length, end)];
          if (from >= to) continue;
          const part = bytes.subarray(from - at, to - at);
          write(buffer, from - start, part);
          kept.get(buffer)?.set(part.subarray(0, size - (from - start)), from - start);
        }
        at += bytes.length;
      };
      const take = (given: Uint8Array): void => {
        let bytes = given as Uint8Array<ArrayBuffer>;
        if (rest.length > 0) {
          bytes = new Uint8Array(rest.length + given.length);
          bytes.set(rest);
          bytes.set(given, rest.length);
        }
        const size = bytes.length - (bytes.length % 4);
        rest = bytes.slice(size);
        put(bytes.subarray(0, size));
      };
      if (typeof source === 'function') await source(take);
      else take(await source);
      if (rest.length > 0) take(new Uint8Array(4 - rest.length));
    },
  };
}
