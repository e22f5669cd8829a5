// The WebAssembly binary format: a growable byte buffer and the module writer over it. Knows nothing of kernels.
// Sections come out in the order the format fixes; function indices count imports first. Code comes from code.ts.

const text = new TextEncoder();

/** WebAssembly value types, by their encoding. */
export const VALUE_TYPES = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const;
export type ValueType = keyof typeof VALUE_TYPES;

/** Bytes written one after another; the buffer doubles when full. */
export class ByteWriter {
  private bytes: Uint8Array;
  private view: DataView;
  private used = 0;

  constructor(capacity = 256) {
    this.bytes = new Uint8Array(capacity);
    this.view = new DataView(this.bytes.buffer);
  }

  get length(): number {
    return this.used;
  }

  private reserve(extra: number): void {
    if (this.used + extra <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.used + extra));
    grown.set(this.bytes.subarray(0, this.used));
    this.bytes = grown;
    this.view = new DataView(grown.buffer);
  }

  u8(value: number): void {
    this.reserve(1);
    this.bytes[this.used++] = value;
  }

  /** Unsigned LEB128 of a number below 2^32. */
  u32(value: number): void {
    let rest = value >>> 0;
    while (rest > 0x7f) {
      this.u8((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.u8(rest);
  }

  /** Signed LEB128 of a 32-bit integer. */
  s32(value: number): void {
    let rest = value | 0;
    for (;;) {
      const low = rest & 0x7f;
      rest >>= 7;
      if ((rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)) return this.u8(low);
      this.u8(low | 0x80);
    }
  }

  /** Signed LEB128 of a 64-bit integer. */
  s64(value: bigint): void {
    let rest = BigInt.asIntN(64, value);
    for (;;) {
      const low = Number(rest & 0x7fn);
      rest >>= 7n;
      if ((rest === 0n && (low & 0x40) === 0) || (rest === -1n && (low & 0x40) !== 0)) return this.u8(low);
      this.u8(low | 0x80);
    }
  }

  f32(value: number): void {
    this.reserve(4);
    this.view.setFloat32(this.used, value, true);
    this.used += 4;
  }

  f64(value: number): void {
    this.reserve(8);
    this.view.setFloat64(this.used, value, true);
    this.used += 8;
  }

  raw(bytes: ArrayLike<number>): void {
    this.reserve(bytes.length);
    this.bytes.set(bytes, this.used);
    this.used += bytes.length;
  }

  name(value: string): void {
    const encoded = text.encode(value);
    this.u32(encoded.length);
    this.raw(encoded);
  }

  /** The bytes so far, without a copy; valid until the next write. */
  written(): Uint8Array {
    return this.bytes.subarray(0, this.used);
  }
}

export interface FunctionType {
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}

/** A function of the module: `locals` follow the parameters, `code` is the body without its closing `end`. */
export interface FunctionBody {
  readonly name: string;
  readonly type: FunctionType;
  readonly locals: readonly ValueType[];
  readonly code: Uint8Array;
}

export interface ModuleSpec {
  readonly imports: readonly { readonly module: string; readonly name: string; readonly type: FunctionType }[];
  readonly functions: readonly FunctionBody[];
  /** `index` counts imported functions first. */
  readonly exports: readonly { readonly name: string; readonly index: number }[];
  /** `imported` takes `env.memory`, else the module owns its memory; it is exported as `memory` either way. */
  readonly memory: { readonly pages: number; readonly imported: boolean; readonly shared: boolean };
  readonly data: readonly { readonly address: number; readonly bytes: Uint8Array }[];
  readonly names: boolean;
}

const SECTION = { custom: 0, type: 1, import: 2, function: 3, memory: 5, export: 7, code: 10, data: 11 } as const;
const KIND = { function: 0, memory: 2 } as const;

const typeKey = (t: FunctionType): string => `${t.params.join()}>${t.results.join()}`;

/** Distinct function types in order of first use. */
function collectTypes(spec: ModuleSpec): Map<string, { index: number; type: FunctionType }> {
  const types = new Map<string, { index: number; type: FunctionType }>();
  for (const { type } of [...spec.imports, ...spec.functions]) {
    const key = typeKey(type);
    if (!types.has(key)) types.set(key, { index: types.size, type });
  }
  return types;
}

/** The byte before the limits: 1 with a maximum, 3 also shared. */
function writeLimits(out: ByteWriter, { pages, shared }: ModuleSpec['memory']): void {
  out.u8(shared ? 3 : 1);
  out.u32(pages);
  out.u32(pages);
}

/** Runs of equal local types, as the format wants them. */
function writeLocals(out: ByteWriter, locals: readonly ValueType[]): void {
  const runs: { type: ValueType; count: number }[] = [];
  for (const type of locals) {
    const last = runs.at(-1);
    if (last?.type === type) last.count++;
    else runs.push({ type, count: 1 });
  }
  out.u32(runs.length);
  for (const { type, count } of runs) {
    out.u32(count);
    out.u8(VALUE_TYPES[type]);
  }
}

function writeFunctionNames(out: ByteWriter, spec: ModuleSpec): void {
  const names = [...spec.imports.map((i) => `${i.module}.${i.name}`), ...spec.functions.map((f) => f.name)];
  const body = new ByteWriter(names.length * 24);
  body.u32(names.length);
  names.forEach((name, index) => {
    body.u32(index);
    body.name(name);
  });
  out.name('name');
  out.u8(1);
  out.u32(body.length);
  out.raw(body.written());
}

/** The module's bytes. */
export function encodeModule(spec: ModuleSpec): Uint8Array {
  const codeSize = spec.functions.reduce((n, f) => n + f.code.length + 16, 1024);
  const dataSize = spec.data.reduce((n, d) => n + d.bytes.length + 16, 64);
  const out = new ByteWriter(codeSize + dataSize);
  const types = collectTypes(spec);
  const typeIndex = (t: FunctionType): number => types.get(typeKey(t))?.index ?? 0;
  const section = (id: number, capacity: number, fill: (body: ByteWriter) => void): void => {
    const body = new ByteWriter(capacity);
    fill(body);
    out.u8(id);
    out.u32(body.length);
    out.raw(body.written());
  };
  out.raw([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
  section(SECTION.type, 256, (body) => {
    body.u32(types.size);
    for (const { type } of types.values()) writeType(body, type);
  });
  if (spec.imports.length > 0 || spec.memory.imported)
    section(SECTION.import, 64, (body) => writeImports(body, spec, typeIndex));
  section(SECTION.function, 256, (body) => {
    body.u32(spec.functions.length);
    for (const f of spec.functions) body.u32(typeIndex(f.type));
  });
  if (!spec.memory.imported) {
    section(SECTION.memory, 16, (body) => {
      body.u32(1);
      writeLimits(body, spec.memory);
    });
  }
  section(SECTION.export, 256, (body) => writeExports(body, spec));
  section(SECTION.code, codeSize, (body) => writeCode(body, spec.functions));
  if (spec.data.length > 0) section(SECTION.data, dataSize, (body) => writeData(body, spec.data));
  if (spec.names) section(SECTION.custom, 1024, (body) => writeFunctionNames(body, spec));
  return out.written().slice();
}

function writeType(body: ByteWriter, type: FunctionType): void {
  body.u8(0x60);
  for (const list of [type.params, type.results]) {
    body.u32(list.length);
    for (const t of list) body.u8(VALUE_TYPES[t]);
  }
}

function writeImports(body: ByteWriter, spec: ModuleSpec, typeIndex: (t: FunctionType) => number): void {
  body.u32(spec.imports.length + Number(spec.memory.imported));
  for (const i of spec.imports) {
    body.name(i.module);
    body.name(i.name);
    body.u8(KIND.function);
    body.u32(typeIndex(i.type));
  }
  if (!spec.memory.imported) return;
  body.name('env');
  body.name('memory');
  body.u8(KIND.memory);
  writeLimits(body, spec.memory);
}

function writeExports(body: ByteWriter, spec: ModuleSpec): void {
  body.u32(spec.exports.length + 1);
  for (const e of spec.exports) {
    body.name(e.name);
    body.u8(KIND.function);
    body.u32(e.index);
  }
  body.name('memory');
  body.u8(KIND.memory);
  body.u32(0);
}

function writeCode(body: ByteWriter, functions: readonly FunctionBody[]): void {
  body.u32(functions.length);
  for (const f of functions) {
    const locals = new ByteWriter(16);
    writeLocals(locals, f.locals);
    body.u32(locals.length + f.code.length + 1);
    body.raw(locals.written());
    body.raw(f.code);
    body.u8(0x0b);
  }
}

function writeData(body: ByteWriter, data: ModuleSpec['data']): void {
  body.u32(data.length);
  for (const { address, bytes } of data) {
    body.u8(0);
    body.u8(0x41);
    body.s32(address);
    body.u8(0x0b);
    body.u32(bytes.length);
    body.raw(bytes);
  }
}
