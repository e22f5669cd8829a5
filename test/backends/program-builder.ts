// A few lines that make writing Programs by hand bearable: buffers get ids and places in order, kernels become steps.

import { type Dim, type Sym, symDim } from '../../src/ir/dim.js';
import type { BufferParam, Kernel, Stmt } from '../../src/ir/kernel.js';
import type { BufferRef, Program, ProgramBuffer, ProgramEntry, ProgramValue, Step } from '../../src/ir/program.js';
import { type Expr, i32, variable } from '../../src/ir/scalar.js';
import { DTYPE_INFO, type DType } from '../../src/support/dtype.js';
import { STORAGE, type Tensor, sizeOf } from '../../src/support/tensor.js';
import { upperBound } from '../../src/ir/dim.js';

export interface Handle {
  readonly id: number;
  readonly dtype: DType;
  readonly elements: number;
}

export interface ProgramBuilder {
  readonly input: (name: string, dtype: DType, shape: readonly Dim[]) => Handle;
  readonly output: (name: string, dtype: DType, shape: readonly Dim[]) => Handle;
  readonly constant: (name: string, tensor: Tensor) => Handle;
  readonly arena: (name: string, dtype: DType, elements: number, offset?: number) => Handle;
  readonly state: (name: string, init: Tensor) => Handle;
  /** A kernel and the step that runs it on these buffers. */
  readonly kernel: (
    name: string,
    buffers: readonly [Handle, BufferParam['access'], Dim?][],
    body: readonly Stmt[],
    syms?: readonly Sym[],
  ) => Step;
  readonly steps: (...steps: readonly Step[]) => void;
  /** Further inputs, outputs and steps belong to a new entry of that name. */
  readonly entry: (name: string) => void;
}

const align16 = (n: number): number => Math.ceil(n / 16) * 16;

export function buildProgram(
  name: string,
  make: (b: ProgramBuilder) => void,
  numerics: 'fast' | 'strict' = 'strict',
): Program {
  const kernels: Kernel[] = [];
  const buffers: ProgramBuffer[] = [];
  const entries: { name: string; inputs: ProgramValue[]; outputs: ProgramValue[]; steps: Step[] }[] = [];
  const used = { arena: 0, state: 0, const: 0 };
  const current = () => entries.at(-1) ?? open('run');
  const open = (entryName: string) => {
    const e = { name: entryName, inputs: [], outputs: [], steps: [] };
    entries.push(e);
    return e as (typeof entries)[number];
  };
  const add = (n: string, dtype: DType, elements: number, place: ProgramBuffer['place']): Handle => {
    buffers.push({ id: buffers.length, name: n, dtype, elements, place });
    return { id: buffers.length - 1, dtype, elements };
  };
  const reserve = (kind: 'arena' | 'state' | 'const', dtype: DType, elements: number): number => {
    const offset = align16(used[kind]);
    used[kind] = offset + elements * DTYPE_INFO[dtype].bytes;
    return offset;
  };
  const value = (kind: 'input' | 'output', n: string, dtype: DType, shape: readonly Dim[]): Handle => {
    const list = current()[kind === 'input' ? 'inputs' : 'outputs'];
    const elements = shape.reduce<number>((k, d) => k * upperBound(d, n), 1);
    const handle = add(n, dtype, elements, { kind, entry: entries.length - 1, index: list.length });
    list.push({ name: n, dtype, shape, buffer: handle.id });
    return handle;
  };
  make({
    input: (n, dtype, shape) => value('input', n, dtype, shape),
    output: (n, dtype, shape) => value('output', n, dtype, shape),
    constant: (n, data) =>
      add(n, data.dtype, sizeOf(data.shape), {
        kind: 'const',
        offset: reserve('const', data.dtype, sizeOf(data.shape)),
        data,
      }),
    arena: (n, dtype, elements, offset) => {
      if (offset !== undefined) used.arena = Math.max(used.arena, offset + elements * DTYPE_INFO[dtype].bytes);
      return add(n, dtype, elements, { kind: 'arena', offset: offset ?? reserve('arena', dtype, elements) });
    },
    state: (n, init) =>
      add(n, init.dtype, sizeOf(init.shape), {
        kind: 'state',
        offset: reserve('state', init.dtype, sizeOf(init.shape)),
        init,
      }),
    kernel: (n, args, body, syms = []) => {
      const params = args.map(([h, access, offset], i) => ({
        name: buffers[h.id]?.name ?? `p${i}`,
        dtype: h.dtype,
        access,
        size: offset === undefined ? h.elements : 1,
      }));
      kernels.push({ name: n, params, syms, body });
      return {
        kind: 'kernel',
        kernel: kernels.length - 1,
        buffers: args.map(([h, , offset]): BufferRef => ({ buffer: h.id, offset: offset ?? 0 })),
        dims: syms.map(symDim),
        origins: [{ op: 'Test', node: `${name}/${n}`, index: kernels.length - 1, path: [] }],
      };
    },
    steps: (...steps) => void current().steps.push(...steps),
    entry: (n) => void open(n),
  });
  return {
    name,
    kernels,
    buffers,
    entries: entries satisfies ProgramEntry[],
    arenaBytes: used.arena,
    stateBytes: used.state,
    weightBytes: used.const,
    peak: { bytes: used.arena, origin: null },
    numerics,
  };
}

export const tensor = (
  dtype: Exclude<DType, 'string'>,
  shape: readonly number[],
  values: readonly (number | bigint)[],
): Tensor => {
  const data = new STORAGE[dtype](sizeOf(shape));
  values.forEach((v, i) => {
    data[i] = dtype === 'i64' || dtype === 'u64' ? BigInt(v) : Number(v);
  });
  return { dtype, shape, data };
};

/** `for name in 0..hi` */
export const loop = (name: string, hi: Expr | number, ...body: Stmt[]): Stmt => ({
  s: 'for',
  var: name,
  lo: i32(0),
  hi: typeof hi === 'number' ? i32(hi) : hi,
  step: 1,
  mode: 'serial',
  body,
});

export const store = (buf: number, index: Expr, value: Expr): Stmt => ({ s: 'store', buf, index, value });
export const letVar = (name: string, value: Expr, mutable = false): Stmt => ({ s: 'let', var: name, value, mutable });
export const setVar = (name: string, value: Expr): Stmt => ({ s: 'set', var: name, value });
export const iv = (name: string): Expr => variable(name, 'i32');
