// Outputs that stay in linear memory from one call to the next, so that caches of decoders are not copied out and in again.
// One lies where the run left it until a later run needs its place: then it moves to its input's place, where it stays as
// long as each run takes it and leaves it, or gets bytes of its own. The function uses nothing around it, as its text is in the loader.

/** An output in memory. Whoever asked for it destroys it. */
export interface KeptBuffer {
  readonly size: number;
  /** A copy of its bytes. */
  read(): Uint8Array;
  destroy(): void;
}

/** What an input is given as; strings go to no place in memory. */
export type Given = KeptBuffer | ArrayBufferView | readonly string[];

export interface Kept {
  has(buffer: unknown): boolean;
  /** The bytes at `address`, which a run has just written. */
  keep(address: number, size: number): KeptBuffer;
  /** Puts a run's inputs in their places; what it does not take, or overwrites, is safe from it afterwards. */
  place(inputs: readonly InputPlace[], given: readonly Given[]): void;
}

/** `stays`: a run leaves there what it finds. */
type InputPlace = readonly [address: number, stays: boolean | number];

/** `put` writes what is not kept here. */
export function createKept(
  memory: WebAssembly.Memory,
  put: (address: number, data: ArrayBufferView | readonly string[]) => void,
): Kept {
  interface Place {
    address: number;
    readonly size: number;
    own: Uint8Array | null;
  }
  const places = new Map<unknown, Place>();
  const bytesOf = (p: Place): Uint8Array => p.own ?? new Uint8Array(memory.buffer, p.address, p.size);
  const vacate = (p: Place): void => {
    p.own ??= bytesOf(p).slice();
  };
  return {
    has: (buffer) => places.has(buffer),
    keep(address, size) {
      const place: Place = { address, size, own: null };
      const buffer = { size, read: () => bytesOf(place).slice(), destroy: () => places.delete(buffer) };
      places.set(buffer, place);
      return buffer;
    },
    place(inputs, given) {
      for (const [buffer, p] of places) if (!given.includes(buffer as Given)) vacate(p);
      inputs.forEach(([address, stays], i) => {
        const kept = places.get(given[i]);
        const data = kept ? bytesOf(kept) : (given[i] as ArrayBufferView);
        const end = address + data.byteLength;
        for (const p of places.values())
          if (p === kept ? !stays : p.address < end && address < p.address + p.size) vacate(p);
        if (kept?.address !== address || kept.own) put(address, data);
        if (kept && stays) Object.assign(kept, { address, own: null });
      });
    },
  };
}
