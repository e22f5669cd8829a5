// Where everything of a program lies in linear memory, bottom to top: output sizes (below LOW_MEMORY, where no buffer
// is), kernels' scratch, constants, state, arena. Nothing grows while it runs.
// Inputs and outputs that have no place in the arena follow; entries overlay theirs, as only one runs at a time.

import type { Sym } from '../../ir/dim.js';
import {
  type HostArg,
  type Program,
  type ProgramBuffer,
  type ProgramEntry,
  type ProgramValue,
  spaceOf,
} from '../../ir/program.js';
import { type DType, DTYPE_INFO } from '../../support/dtype.js';
import { CompileError, invariant } from '../../support/errors.js';
import { inputSymbols } from '../entry-spec.js';
import { jobBytes } from './job.js';
import { LOW_MEMORY } from './kernel-state.js';

export interface Region {
  readonly address: number;
  readonly bytes: number;
}

/** An input or output: where its data is, and for outputs where the module writes the actual size of each axis (i32). An input
 *  that stays is still there after the run. */
export interface ValueLayout {
  readonly name: string;
  readonly dtype: DType;
  readonly rank: number;
  readonly address: number;
  readonly stays: boolean;
  readonly sizes: number;
}

/** `symbols` are the exported function's i32 parameters, in order. */
export interface EntryLayout {
  readonly name: string;
  readonly symbols: readonly Sym[];
  readonly inputs: readonly ValueLayout[];
  readonly outputs: readonly ValueLayout[];
}

/** A host step: imported as `host.<n>`, called with each argument's address and then its sizes, inputs first. */
export interface HostLayout {
  readonly op: string;
  readonly inputs: readonly { readonly dtype: DType; readonly rank: number }[];
  readonly outputs: readonly { readonly dtype: DType; readonly rank: number }[];
}

export interface WasmLayout {
  readonly pages: number;
  /** Address of the job of programs with shares. */
  readonly job: number;
  readonly scratch: Region;
  readonly constants: Region;
  readonly state: Region;
  readonly arena: Region;
  readonly io: Region;
  readonly entries: readonly EntryLayout[];
  readonly hosts: readonly HostLayout[];
  /** Address of each buffer, by buffer id. Strings are the host's, under their buffer's number in place of an address. */
  readonly addresses: ReadonlyMap<number, number>;
  /** Whether state starts as anything but zeros. */
  readonly stateIsZero: boolean;
}

const PAGE = 65536;
const MOST_PAGES = 65536;
/** So that a vector load at the very end stays inside. */
const MARGIN = 16;

const align16 = (n: number): number => Math.ceil(n / 16) * 16;
const bytesOf = (b: ProgramBuffer): number => b.elements * DTYPE_INFO[b.dtype].bytes;

/** Rows of i32, one per output axis of every entry. */
const sizesBytes = (program: Program): number =>
  program.entries.reduce((n, e) => n + e.outputs.reduce((m, o) => m + 4 * o.shape.length, 0), 0);

/** The first address kernels may use; known before any kernel is written. */
export const scratchAddress = (program: Program): number =>
  Math.max(LOW_MEMORY, align16(jobAddress(program) + jobBytes(program)));

/** Where a run that traps on a checked size leaves its number (from 1, in `checkedSymbols`) and the value, as i32. */
export const faultAddress = (program: Program): number => sizesBytes(program);

/** Where threads find their work (threads.ts). */
export const jobAddress = (program: Program): number => align16(faultAddress(program) + 8);

function extent(program: Program, space: 'const' | 'state' | 'arena'): number {
  let end = 0;
  for (const b of program.buffers)
    if (spaceOf(b) === space) end = Math.max(end, (b.place.offset as number) + bytesOf(b));
  return end;
}

/** `scratchBytes` is the most any kernel asks for. */
export function planLayout(program: Program, scratchBytes: number, hosts: readonly HostLayout[]): WasmLayout {
  let next = scratchAddress(program);
  const region = (bytes: number): Region => {
    const r = { address: next, bytes };
    next = align16(next + bytes);
    return r;
  };
  const scratch = region(scratchBytes);
  const constants = region(extent(program, 'const'));
  const state = region(extent(program, 'state'));
  const arena = region(Math.max(program.arenaBytes, extent(program, 'arena')));
  const addresses = new Map<number, number>();
  const regionOf = { const: constants, state, arena };
  const cursors = program.entries.map(() => next);
  for (const b of program.buffers) {
    const space = spaceOf(b);
    if (b.dtype === 'string') addresses.set(b.id, b.id);
    else if (space) addresses.set(b.id, regionOf[space].address + (b.place.offset as number));
    else if ('entry' in b.place) {
      const at = cursors[b.place.entry];
      invariant(at !== undefined, `buffer ${b.name} belongs to entry ${b.place.entry}, which is none`);
      addresses.set(b.id, at);
      cursors[b.place.entry] = align16(at + bytesOf(b));
    }
  }
  const io = { address: next, bytes: Math.max(next, ...cursors) - next };
  const pages = Math.ceil((io.address + io.bytes + MARGIN) / PAGE);
  if (pages > MOST_PAGES) throw tooLarge(program, { constants, state, arena, io });
  const stateIsZero = program.buffers.every((b) => b.place.kind !== 'state' || isZero(b.place.init.data));
  return {
    pages,
    job: jobAddress(program),
    scratch,
    constants,
    state,
    arena,
    io,
    hosts,
    addresses,
    stateIsZero,
    entries: layEntries(program, addresses),
  };
}

const isZero = (data: ArrayLike<number | bigint | string>): boolean => {
  for (let i = 0; i < data.length; i++) if (data[i] || Object.is(data[i], -0)) return false;
  return true;
};

function tooLarge(program: Program, regions: Record<string, Region>): CompileError {
  const parts = Object.entries(regions).map(([name, r]) => `${name} ${Math.ceil(r.bytes / 2 ** 20)} MiB`);
  const peak = program.peak.origin ? ` The arena peaks at "${program.peak.origin.node}".` : '';
  return new CompileError(
    'E302',
    `the program needs more than the 4 GiB a WebAssembly memory has: ${parts.join(', ')}`,
    {
      hint: `Lower a bound: --dim name=1..N.${peak}`,
    },
  );
}

function layEntries(program: Program, addresses: ReadonlyMap<number, number>): EntryLayout[] {
  let sizes = 0;
  const layValue = (v: ProgramValue, isOutput: boolean): ValueLayout => {
    const address = addresses.get(v.buffer);
    invariant(address !== undefined, `value ${v.name} has no buffer ${v.buffer}`);
    const stays = program.buffers[v.buffer]?.place.offset === undefined;
    const layout = { name: v.name, dtype: v.dtype, rank: v.shape.length, address, stays, sizes };
    if (isOutput) sizes += 4 * v.shape.length;
    return layout;
  };
  return program.entries.map((e: ProgramEntry) => ({
    name: e.name,
    symbols: inputSymbols(e),
    inputs: e.inputs.map((v) => layValue(v, false)),
    outputs: e.outputs.map((v) => layValue(v, true)),
  }));
}

export const layHostArgs = (args: readonly HostArg[]): HostLayout['inputs'] =>
  args.map((a) => ({ dtype: a.dtype, rank: a.shape.length }));

/** Constants that are strings, by address. */
export const stringConstants = (program: Program): readonly (readonly [address: number, data: readonly string[]])[] =>
  program.buffers.flatMap((b) =>
    b.dtype === 'string' && b.place.kind === 'const' ? [[b.id, b.place.data.data as readonly string[]] as const] : [],
  );

/** The bytes memory starts with: constants, and state that is not zero. Addresses ascend. */
export function initialImage(program: Program, layout: WasmLayout): { address: number; bytes: Uint8Array }[] {
  const image: { address: number; bytes: Uint8Array }[] = [];
  for (const b of program.buffers) {
    const tensor = b.place.kind === 'const' ? b.place.data : b.place.kind === 'state' ? b.place.init : null;
    const address = layout.addresses.get(b.id);
    if (tensor === null || address === undefined || b.dtype === 'string') continue;
    const data = tensor.data;
    invariant(ArrayBuffer.isView(data), `buffer ${b.name} holds strings`);
    if (b.place.kind === 'state' && isZero(data)) continue;
    image.push({ address, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) });
  }
  return image.filter((s) => s.bytes.length > 0).sort((a, b) => a.address - b.address);
}
