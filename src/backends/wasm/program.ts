// A whole Program as one module: each kernel a function, each entry an exported function that runs its steps and
// writes its outputs' sizes. Memory is imported as `env.memory` unless the module shall own it; nothing else is
// imported, save `host.<n>` where the program has host steps and `profile.mark` in a profiling build.

import { type Dim, dimSyms } from '../../ir/dim.js';
import type { BufferRef, Program, ProgramBuffer, ProgramEntry, Step } from '../../ir/program.js';
import type { Kernel } from '../../ir/kernel.js';
import { type DType, DTYPE_INFO } from '../../support/dtype.js';
import { invariant, never } from '../../support/errors.js';
import { dimToExpr } from '../dim-expr.js';
import { checkedSymbols } from '../entry-spec.js';
import { NO_POINT, profilePoints } from '../profile-points.js';
import { scalarCell, writeCell } from './cells.js';
import { CodeWriter, type Local } from './code.js';
import { encodeModule, type FunctionBody, type FunctionType } from './encoder.js';
import { writeExpr } from './expr.js';
import { bindSymbol, emitKernel, newState } from './kernel.js';
import { shortenTurns } from './turns.js';
import { JOB, sharedKernels } from './job.js';
import type { KernelState } from './kernel-state.js';
import {
  type EntryLayout,
  faultAddress,
  type HostLayout,
  initialImage,
  layHostArgs,
  planLayout,
  scratchAddress,
  type WasmLayout,
} from './layout.js';
import { emitThreads, WORK } from './threads.js';

type HostStep = Extract<Step, { kind: 'host' }>;

export interface WasmOptions {
  /** Adds kernels' names for profilers. */
  readonly names?: boolean | undefined;
  /** Who makes the memory; default `import`. */
  readonly memory?: 'import' | 'own' | undefined;
  /** `inline`: constants and initial state are data segments; `file`: the loader writes them. Default by size. */
  readonly weights?: 'inline' | 'file' | undefined;
  /** Imports `profile.mark` and calls it around every step (backends/profile-points.ts). */
  readonly profile?: boolean | undefined;
  /** Fused multiply-adds of relaxed SIMD, in fast numerics. */
  readonly relaxed?: boolean | undefined;
  /** Imports shared memory where kernels have shares, so that helpers can take some. */
  readonly shared?: boolean | undefined;
}

export interface WasmOutput {
  readonly module: Uint8Array;
  readonly layout: WasmLayout;
  /** Whether the module brings its constants and initial state itself. */
  readonly inline: boolean;
  /** Where the byte is that says that memory is shared; null where it is not. Without it the module runs on one thread. */
  readonly sharedAt: number | null;
}

/** Weights up to this many bytes are put into the module. */
export const INLINE_LIMIT = 1 << 20;

export function emitWasm(program: Program, options: WasmOptions = {}): WasmOutput {
  const hosts = collectHosts(program);
  const base = scratchAddress(program);
  const relaxed = options.relaxed === true && program.numerics === 'fast';
  const kernels = program.kernels.map((k) => emitKernel(relaxed ? shortenTurns(k) : k, base, relaxed));
  const layout = planLayout(
    program,
    kernels.reduce((n, k) => Math.max(n, k.scratch), 0),
    hosts.map((h) => ({ op: h.op, inputs: layHostArgs(h.inputs), outputs: layHostArgs(h.outputs) })),
  );
  const buffers = new Map(program.buffers.map((b) => [b.id, b]));
  const points = options.profile ? new Map(profilePoints(program).map((step, i) => [step, i])) : undefined;
  const imports = [
    ...layout.hosts.map((h, i) => ({ module: 'host', name: String(i), type: hostType(h) })),
    ...(points ? [{ module: 'profile', name: 'mark', type: MARK }] : []),
  ];
  const fault = faultAddress(program);
  const checked = checkedSymbols(program).map((s) => s.name);
  const firstKernel = imports.length;
  const firstThreads = firstKernel + kernels.length + program.entries.length;
  const isShared = sharedKernels(program).length > 0;
  const threads = isShared ? emitThreads(program, layout.job, firstKernel, firstThreads) : null;
  const fork = threads && firstThreads + threads.fork;
  const cx = { program, buffers, layout, hosts, points, fault, checked, firstKernel, fork };
  const entries = program.entries.map((e, i) => emitEntry(cx, e, i));
  const image = initialImage(program, layout);
  const weightBytes = image.reduce((n, s) => n + s.bytes.length, 0);
  const inline = options.weights ? options.weights === 'inline' : weightBytes <= INLINE_LIMIT;
  const module = encodeModule({
    imports,
    functions: [...kernels.map((k) => k.body), ...entries, ...(threads?.functions ?? [])],
    exports: [
      ...entries.map((e, i) => ({ name: e.name, index: imports.length + kernels.length + i })),
      ...(threads ? [{ name: WORK, index: firstThreads + threads.work }] : []),
    ],
    memory: { pages: layout.pages, imported: options.memory !== 'own', shared: options.shared === true && isShared },
    data: inline ? image : [],
    names: options.names ?? false,
  });
  return { module, layout, inline, sharedAt: options.shared && isShared ? findSharedByte(module) : null };
}

/** The import of `env.memory` ends with its kind and the byte. */
function findSharedByte(module: Uint8Array): number {
  const text = [3, ...ascii('env'), 6, ...ascii('memory'), 2];
  const at = module.findIndex((_, i) => text.every((b, j) => module[i + j] === b));
  invariant(at >= 0 && module[at + text.length] === 3, 'shared memory is imported');
  return at + text.length;
}

const ascii = (s: string): number[] => [...s].map((c) => c.charCodeAt(0));

/** Host steps in program order; the position is the import's name. */
export function collectHosts(program: Program): readonly HostStep[] {
  const found: HostStep[] = [];
  const visit = (steps: readonly Step[]): void => {
    for (const s of steps) {
      if (s.kind === 'host') found.push(s);
      else if (s.kind === 'if') [s.then, s.else].forEach(visit);
      else if (s.kind === 'loop') visit(s.body);
      else if (s.kind === 'while') [s.test, s.body].forEach(visit);
    }
  };
  for (const e of program.entries) visit(e.steps);
  return found;
}

function hostType(h: HostLayout): FunctionType {
  const count = [...h.inputs, ...h.outputs].reduce((n, a) => n + 1 + a.rank, 0);
  return { params: new Array<'i32'>(count).fill('i32'), results: [] };
}

const MARK: FunctionType = { params: ['i32'], results: [] };

interface ModuleContext {
  readonly program: Program;
  readonly buffers: ReadonlyMap<number, ProgramBuffer>;
  readonly layout: WasmLayout;
  readonly hosts: readonly HostStep[];
  /** In a profiling build, each step's number. */
  readonly points: ReadonlyMap<Step, number> | undefined;
  readonly firstKernel: number;
  /** Names of the checked symbols, and where a trap leaves which one it was. */
  readonly checked: readonly string[];
  readonly fault: number;
  /** The function that runs a kernel on all threads. */
  readonly fork: number | null;
}

interface EntryContext extends ModuleContext {
  readonly k: KernelState;
  readonly symbols: Map<string, Local>;
}

function emitEntry(module: ModuleContext, entry: ProgramEntry, index: number): FunctionBody {
  const own = module.layout.entries[index] as EntryLayout;
  const c = new CodeWriter(entry.name, { params: own.symbols.map(() => 'i32'), results: [] });
  const k = newState(c, new Map(), new Map());
  const cx: EntryContext = { ...module, k, symbols: new Map() };
  own.symbols.forEach((s, i) => {
    declareSymbol(cx, s.name, c.param(i));
  });
  writeSteps(cx, entry.steps);
  entry.outputs.forEach((output, i) => {
    const { sizes } = own.outputs[i] as { sizes: number };
    output.shape.forEach((dim, axis) => {
      c.i32(sizes + 4 * axis);
      writeDim(cx, dim);
      c.memory('i32.store', 0, 2);
    });
  });
  return c.finish();
}

/** The local of a symbol, made on first mention. */
function declareSymbol(cx: EntryContext, name: string, local?: Local): Local {
  const known = cx.symbols.get(name);
  if (known) return known;
  const made = local ?? cx.k.c.local('i32');
  cx.symbols.set(name, made);
  bindSymbol(cx.k, name, made);
  return made;
}

const writeDim = (cx: EntryContext, dim: Dim): void => writeExpr(cx.k, dimToExpr(dim));

function bufferDtype(cx: EntryContext, ref: BufferRef): DType {
  const buffer = cx.buffers.get(ref.buffer);
  invariant(buffer, `a step refers to buffer ${ref.buffer}, which is none`);
  return buffer.dtype;
}

/** Pushes the address of the first element at `ref`. */
function writeRef(cx: EntryContext, ref: BufferRef): void {
  const { c } = cx.k;
  const address = cx.layout.addresses.get(ref.buffer);
  const { bytes } = DTYPE_INFO[bufferDtype(cx, ref)];
  invariant(address !== undefined, `buffer ${ref.buffer} has no address`);
  if (typeof ref.offset === 'number') return c.i32(address + ref.offset * bytes);
  writeDim(cx, ref.offset);
  c.i32(bytes);
  c.op('i32.mul');
  c.i32(address);
  c.op('i32.add');
}

/** Pushes the i1 element at `ref`. */
function writeCondition(cx: EntryContext, ref: BufferRef): void {
  writeRef(cx, ref);
  cx.k.c.memory('i32.load8_u', 0);
}

function writeSteps(cx: EntryContext, steps: readonly Step[]): void {
  for (const s of steps) writeStep(cx, s);
}

function writeStep(cx: EntryContext, s: Step): void {
  const point = cx.points?.get(s);
  if (point === undefined) return writePlainStep(cx, s);
  writeMark(cx, point);
  writePlainStep(cx, s);
  writeMark(cx, NO_POINT);
}

/** The import after the hosts'. */
function writeMark(cx: EntryContext, point: number): void {
  cx.k.c.i32(point);
  cx.k.c.call(cx.hosts.length);
}

function writePlainStep(cx: EntryContext, s: Step): void {
  const { c } = cx.k;
  switch (s.kind) {
    case 'kernel':
      if (cx.program.kernels[s.kernel]?.shares !== undefined) return writeFork(cx, s);
      for (const ref of s.buffers) writeRef(cx, ref);
      for (const dim of s.dims) writeDim(cx, dim);
      return c.call(cx.firstKernel + s.kernel);
    case 'bind':
      return writeBind(cx, s);
    case 'if':
      writeCondition(cx, s.cond);
      c.open('if');
      writeSteps(cx, s.then);
      if (s.else.length > 0) c.else();
      writeSteps(cx, s.else);
      return c.close();
    case 'loop':
      return writeLoop(cx, s);
    case 'while':
      return writeWhile(cx, s);
    case 'host':
      for (const a of [...s.inputs, ...s.outputs]) {
        writeRef(cx, a.ref);
        for (const dim of a.shape) {
          for (const name of dimSyms(dim).keys()) declareSymbol(cx, name); // the call itself may decide it
          writeDim(cx, dim);
        }
      }
      return c.call(cx.hosts.indexOf(s));
    default:
      never(s, 'step');
  }
}

/** The kernel's arguments go to the job, where every thread finds them. */
function writeFork(cx: EntryContext, s: Extract<Step, { kind: 'kernel' }>): void {
  const { c } = cx.k;
  const writes = [...s.buffers.map((ref) => () => writeRef(cx, ref)), ...s.dims.map((dim) => () => writeDim(cx, dim))];
  writes.forEach((write, i) => {
    c.i32(0);
    write();
    c.memory('i32.store', cx.layout.job + JOB.args + 4 * i, 2);
  });
  const kernel = cx.program.kernels[s.kernel] as Kernel;
  c.i32(sharedKernels(cx.program).indexOf(kernel));
  c.i32(kernel.shares?.count ?? 1);
  invariant(cx.fork !== null, 'a program with shares has a fork');
  c.call(cx.fork);
}

/** sym = min(max(value, lo), hi) */
function writeBind(cx: EntryContext, s: Extract<Step, { kind: 'bind' }>): void {
  const { c } = cx.k;
  const dtype = bufferDtype(cx, s.from);
  invariant(dtype === 'i64' || dtype === 'i32', `the symbol ${s.sym.name} is bound to a value of type ${dtype}`);
  const bound = (n: number): void => (dtype === 'i64' ? c.i64(BigInt(n)) : c.i32(n));
  if (s.sym.checked) writeCheck(cx, s, dtype);
  writeRef(cx, s.from);
  c.memory(`${dtype}.load`, 0, dtype === 'i64' ? 3 : 2);
  bound(s.sym.lo);
  writeCell(c, scalarCell('max', dtype));
  bound(s.sym.hi);
  writeCell(c, scalarCell('min', dtype));
  if (dtype === 'i64') c.op('i32.wrap_i64');
  c.set(declareSymbol(cx, s.sym.name));
}

/** Traps where the value is outside; `faultAddress` says which. */
function writeCheck(cx: EntryContext, s: Extract<Step, { kind: 'bind' }>, dtype: 'i32' | 'i64'): void {
  const { c } = cx.k;
  const { lo, hi } = s.sym;
  const value = (): void => {
    writeRef(cx, s.from);
    c.memory(`${dtype}.load`, 0, dtype === 'i64' ? 3 : 2);
  };
  const bound = (n: number): void => (dtype === 'i64' ? c.i64(BigInt(n)) : c.i32(n));
  value();
  bound(lo);
  c.op(`${dtype}.lt_s`);
  value();
  bound(hi);
  c.op(`${dtype}.gt_s`);
  c.op('i32.or');
  c.open('if');
  c.i32(cx.fault);
  c.i32(1 + cx.checked.indexOf(s.sym.name));
  c.memory('i32.store', 0, 2);
  c.i32(cx.fault + 4);
  value();
  if (dtype === 'i64') c.op('i32.wrap_i64');
  c.memory('i32.store', 0, 2);
  c.op('unreachable');
  c.close();
}

function writeLoop(cx: EntryContext, s: Extract<Step, { kind: 'loop' }>): void {
  const { c } = cx.k;
  const i = declareSymbol(cx, s.sym.name);
  const count = c.local('i32');
  const block = c.open('block');
  writeDim(cx, s.count);
  c.tee(count);
  c.i32(0);
  c.op('i32.le_s');
  c.branch(block, true);
  c.i32(0);
  c.set(i);
  const loop = c.open('loop');
  writeSteps(cx, s.body);
  c.get(i);
  c.i32(1);
  c.op('i32.add');
  c.tee(i);
  c.get(count);
  c.op('i32.lt_s');
  c.branch(loop, true);
  c.close();
  c.close();
  c.free(count);
}

function writeWhile(cx: EntryContext, s: Extract<Step, { kind: 'while' }>): void {
  const { c } = cx.k;
  const block = c.open('block');
  const loop = c.open('loop');
  writeSteps(cx, s.test);
  writeCondition(cx, s.cond);
  c.op('i32.eqz');
  c.branch(block, true);
  writeSteps(cx, s.body);
  c.branch(loop, false);
  c.close();
  c.close();
}
