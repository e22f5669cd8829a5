/// <reference types="@webgpu/types" />
// The commands of a run: one encoder collects them and is submitted before anything is read or written from here. Each
// dispatch has a slot of the uniform buffer for its sizes; slots are filled here and go up with the commands.

export interface Range {
  readonly buffer: GPUBuffer;
  /** A multiple of 4. */
  readonly offset: number;
  readonly bytes: number;
}

export interface Commands {
  /** The words of all slots, 64 each. */
  readonly words: Int32Array<ArrayBuffer>;
  readonly uniforms: GPUBuffer;
  readonly counts: { dispatches: number; readbacks: number; submits: number; twin: number };
  /** Buffers that commands not submitted yet use, by position in the plan. */
  readonly touched: Set<number>;
  /** Hear that the commands are about to go up. */
  readonly onSubmit: (() => void)[];
  /** The number of a free slot. */
  takeSlot(): number;
  pass(): GPUComputePassEncoder;
  copy(from: GPUBuffer, offset: number, to: GPUBuffer, at: number, bytes: number): void;
  submit(): void;
  /** Copies of ranges, after everything before has run. */
  read(ranges: readonly Range[]): Promise<ArrayBuffer[]>;
  /** At a multiple of 4, padded to one; before commands that are not submitted yet. */
  write(buffer: GPUBuffer, offset: number, bytes: Uint8Array<ArrayBuffer>): void;
  /** After them; `position` is the buffer's in the plan. A little goes with the commands, more has them submitted. */
  writeAfter(position: number, buffer: GPUBuffer, offset: number, bytes: Uint8Array<ArrayBuffer>): void;
  /** Forgets what a run that failed left behind. */
  restart(): void;
  destroy(): void;
}

export function createCommands(device: GPUDevice): Commands {
  const SLOT = 256;
  const SLOTS = 1024;
  const [MAP_READ, COPY_SRC, COPY_DST, UNIFORM, STORAGE] = [0x1, 0x4, 0x8, 0x40, 0x80];
  const uniforms = device.createBuffer({ size: SLOT * SLOTS, usage: UNIFORM | STORAGE | COPY_SRC | COPY_DST });
  const words = new Int32Array((SLOT * SLOTS) / 4);
  const ROOM = 1 << 16;
  const staged = new Uint8Array(ROOM);
  let staging: GPUBuffer | undefined;
  let stagedBytes = 0;
  const counts = { dispatches: 0, readbacks: 0, submits: 0, twin: 0 };
  const touched = new Set<number>();
  const onSubmit: (() => void)[] = [];
  let encoder: GPUCommandEncoder | undefined;
  let pass: GPUComputePassEncoder | undefined;
  let used = 0;
  const encode = (): GPUCommandEncoder => {
    encoder ??= device.createCommandEncoder();
    return encoder;
  };
  const endPass = (): void => {
    pass?.end();
    pass = undefined;
  };
  const submit = (): void => {
    endPass();
    if (!encoder) return;
    for (const hear of onSubmit) hear();
    if (used > 0) device.queue.writeBuffer(uniforms, 0, words, 0, (used * SLOT) / 4);
    if (staging && stagedBytes > 0) device.queue.writeBuffer(staging, 0, staged, 0, stagedBytes);
    stagedBytes = 0;
    device.queue.submit([encoder.finish()]);
    counts.submits++;
    encoder = undefined;
    used = 0;
    touched.clear();
  };
  const whole = (bytes: number): number => Math.ceil(bytes / 4) * 4;
  const write: Commands['write'] = (buffer, offset, bytes) => {
    const size = bytes.length - (bytes.length % 4);
    if (size > 0) device.queue.writeBuffer(buffer, offset, bytes, 0, size);
    if (size === bytes.length) return;
    const rest = new Uint8Array(4);
    rest.set(bytes.subarray(size));
    device.queue.writeBuffer(buffer, offset + size, rest);
  };
  return {
    words,
    uniforms,
    counts,
    touched,
    onSubmit,
    takeSlot() {
      if (used === SLOTS) submit();
      return used++;
    },
    pass() {
      pass ??= encode().beginComputePass();
      return pass;
    },
    copy(from, offset, to, at, bytes) {
      endPass();
      encode().copyBufferToBuffer(from, offset, to, at, bytes);
    },
    submit,
    async read(ranges) {
      const starts: number[] = [];
      let size = 0;
      for (const r of ranges) {
        starts.push(size);
        size += whole(r.bytes);
      }
      if (size === 0) {
        submit();
        return ranges.map(() => new ArrayBuffer(0));
      }
      const landing = device.createBuffer({ size, usage: MAP_READ | COPY_DST });
      endPass();
      ranges.forEach((r, k) => {
        if (r.bytes > 0) encode().copyBufferToBuffer(r.buffer, r.offset, landing, starts[k] as number, whole(r.bytes));
      });
      submit();
      await landing.mapAsync(MAP_READ);
      const all = landing.getMappedRange();
      const parts = ranges.map((r, k) => all.slice(starts[k] as number, (starts[k] as number) + r.bytes));
      landing.unmap();
      landing.destroy();
      return parts;
    },
    write,
    writeAfter(position, buffer, offset, bytes) {
      const size = whole(bytes.length);
      if (touched.has(position) && stagedBytes + size <= ROOM) {
        staging ??= device.createBuffer({ size: ROOM, usage: COPY_SRC | COPY_DST });
        staged.fill(0, stagedBytes, stagedBytes + size);
        staged.set(bytes, stagedBytes);
        endPass();
        encode().copyBufferToBuffer(staging, stagedBytes, buffer, offset, size);
        stagedBytes += size;
        return;
      }
      if (touched.has(position)) submit();
      write(buffer, offset, bytes);
    },
    restart() {
      Object.assign(counts, { dispatches: 0, readbacks: 0, submits: 0, twin: 0 });
      encoder = undefined;
      pass = undefined;
      used = 0;
      stagedBytes = 0;
      touched.clear();
    },
    destroy() {
      uniforms.destroy();
      staging?.destroy();
    },
  };
}
