// Compiles Programs with the machine's C compiler and opens a session on each: all in one server program, so that the
// compiler and the program start once for any number of models.

import { mkdtempSync, rmSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Program } from '../../ir/program.js';
import { type EntrySpec, evalSize } from '../../runtime/io.js';
import type { RuntimeTensor, Session } from '../../runtime/session.js';
import type { DType } from '../../support/dtype.js';
import { CompileError, InternalError, invariant } from '../../support/errors.js';
import { STORAGE, type Tensor } from '../../support/tensor.js';
import { describeEntry, findEntry, solveInputs } from '../entry-spec.js';
import { createNames } from '../names.js';
import type { Mark } from '../profile-points.js';
import { compileObjects } from './compiler-node.js';
import { emitC } from './emit.js';
import { hostSteps } from './host-steps.js';
import { numericFlags } from './project.js';
import { emitServer, MARKS, RESET, RUN, TIME } from './server.js';
import { type ServerProcess, startServer } from './server-process-node.js';

export interface NamedProgram {
  readonly name: string;
  readonly program: Program;
}

export interface BuildCOptions {
  /** By default -O3 -march=native for one program, -O1 for several. */
  readonly cflags?: readonly string[];
  /** Where the files go; by default a temporary directory that goes away with the sessions. */
  readonly dir?: string;
  /** Compilers at a time. */
  readonly jobs?: number;
  /** How long one run may take. */
  readonly timeoutMs?: number;
  /** Builds that say when each step begins and ends; see `marks`. */
  readonly profile?: boolean;
}

export interface CSession extends Session {
  /** Milliseconds of one run on average over so many, measured in the program that runs them, one more coming before. */
  readonly time: (inputs: Readonly<Record<string, RuntimeTensor>>, repeats: number) => Promise<number>;
  /** What a profiling build noted since the last call. */
  readonly marks: () => Promise<readonly Mark[]>;
}

interface Unit extends NamedProgram {
  readonly prefix: string;
}

/** A session per program, by name. One whose program C cannot express, or does not compile, throws that when used.
 *  E404 without a compiler. */
export async function buildC(
  programs: readonly NamedProgram[],
  options: BuildCOptions = {},
): Promise<Map<string, CSession>> {
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), 'heddle-c-'));
  if (options.dir) await mkdir(dir, { recursive: true });
  else removeAtExit(dir);
  const names = createNames(['server']);
  const units = programs.map((p) => ({ ...p, prefix: names.fresh(`m_${p.name}`.slice(0, 60)) }));
  try {
    const failures = await buildServer(units, dir, options);
    return openSessions(units, failures, dir, options.timeoutMs ?? 120_000);
  } catch (e) {
    removeTemporary(dir);
    throw e;
  }
}

/** Writes and compiles everything; the units that failed, with why. */
async function buildServer(units: readonly Unit[], dir: string, options: BuildCOptions): Promise<Map<string, Error>> {
  const failures = new Map<string, Error>();
  const sources = new Map<string, readonly string[]>();
  for (const unit of units) {
    try {
      sources.set(unit.prefix, await writeUnit(unit, dir, options.profile));
    } catch (e) {
      if (!(e instanceof CompileError)) throw e;
      failures.set(unit.prefix, e);
    }
  }
  const strict = units.find((u) => u.program.numerics === 'strict') ?? units[0];
  const cflags = options.cflags ?? (units.length === 1 ? ['-O3', '-march=native'] : ['-O1']);
  const flags = [...cflags, ...(strict ? numericFlags(strict.program) : [])];
  const messages = await compileObjects({ dir, sources, flags, jobs: options.jobs ?? 1 }, async (good) => {
    const served = units.filter((u) => good.includes(u.prefix));
    await writeFile(join(dir, 'server.c'), emitServer(served, options.profile));
  });
  for (const unit of units) {
    const message = messages.get(unit.prefix);
    if (message === undefined) continue;
    failures.set(unit.prefix, new InternalError(`internal: the C of "${unit.name}" does not compile:\n${message}`));
  }
  return failures;
}

function openSessions(
  units: readonly Unit[],
  failures: ReadonlyMap<string, Error>,
  dir: string,
  timeoutMs: number,
): Map<string, CSession> {
  const served = units.filter((u) => !failures.has(u.prefix));
  const server = startServer(join(dir, 'server'), timeoutMs);
  const open = new Set(units);
  const release = (unit: Unit): void => {
    open.delete(unit);
    if (open.size > 0) return;
    server.close();
    removeTemporary(dir);
  };
  return new Map(
    units.map((u) => {
      const failure = failures.get(u.prefix);
      const close = (): void => release(u);
      const session = failure ? failedSession(failure, close) : serverSession(server, u, served.indexOf(u), close);
      return [u.name, session] as const;
    }),
  );
}

const temporary = new Set<string>();
let listening = false;

/** Sessions that nobody closes leave nothing behind. */
function removeAtExit(dir: string): void {
  if (!listening) process.once('exit', () => temporary.forEach(removeTemporary));
  listening = true;
  temporary.add(dir);
}

function removeTemporary(dir: string): void {
  if (temporary.delete(dir)) rmSync(dir, { recursive: true, force: true });
}

/** Writes a program's files; returns those to compile. */
async function writeUnit(unit: Unit, dir: string, profile = false): Promise<string[]> {
  const files = emitC(unit.program, { prefix: unit.prefix, profile, extern: true });
  const kept = Object.entries(files).filter(([name]) => name !== 'Makefile' && name !== 'CMakeLists.txt');
  await Promise.all(kept.map(([name, content]) => writeFile(join(dir, name), content)));
  return kept.map(([name]) => name).filter((name) => /\.[cS]$/.test(name));
}

function failedSession(failure: Error, release: () => void): CSession {
  const fail = async (): Promise<never> => {
    throw failure;
  };
  return { run: fail, time: fail, marks: fail, reset: fail, close: async () => release() };
}

function serverSession(server: ServerProcess, unit: Unit, index: number, release: () => void): CSession {
  const specs = unit.program.entries.map(describeEntry);
  let failure: Error | undefined;
  const request = async (parts: readonly Uint8Array[]): Promise<Uint8Array> => {
    if (failure) throw failure;
    const refused: unknown[] = [];
    try {
      const reply = await server.request(parts, (call) => answerHost(unit.program, call, refused));
      if (refused.length > 0) throw refused[0];
      return reply;
    } catch (e) {
      if (refused.length > 0) throw refused[0];
      failure = new InternalError(
        `internal: "${unit.name}" failed in C: ${e instanceof Error ? e.message : String(e)}`,
      );
      throw failure;
    }
  };
  return {
    run: async (inputs, name) => {
      const at = findEntry(unit.program, name);
      const spec = specs[at];
      invariant(spec, `no entry ${at}`);
      const symbols = solveInputs(spec, inputs);
      const reply = await request(encodeRun(RUN, index, at, spec, inputs));
      const outputs = decodeReply(reply, spec);
      for (const output of spec.outputs) checkShape(output.name, outputs[output.name], output.shape, symbols);
      return outputs;
    },
    time: async (inputs, repeats) => {
      const spec = specs[0];
      invariant(spec, 'no entry 0');
      solveInputs(spec, inputs);
      const reply = viewOf(await request([...encodeRun(TIME, index, 0, spec, inputs), words(repeats)]));
      checkStatus(reply, spec);
      return Number(reply.getBigUint64(8, true)) / 1e6 / repeats;
    },
    marks: async () => {
      const reply = viewOf(await request([words(index, MARKS, 0, 0)]));
      const number = (at: number): number => Number(reply.getBigInt64(at, true));
      const count = reply.getUint32(4, true);
      return Array.from({ length: count }, (_, i) => ({ point: number(8 + 16 * i), at: number(16 + 16 * i) / 1e6 }));
    },
    reset: async () => void (await request([words(index, RESET, 0, 0)])),
    close: async () => release(),
  };
}

/** Runs the function a host step calls; what it throws goes to `refused`, and the model is told that it failed. */
function answerHost(program: Program, call: Uint8Array, refused: unknown[]): readonly Uint8Array[] {
  const view = viewOf(call);
  const step = hostSteps(program)[view.getUint32(4, true)];
  invariant(step, 'C calls a host step that is none');
  try {
    const tensors = decodeTensors(call, 12, step.inputs);
    return [
      words(0),
      ...step.call(tensors).flatMap(({ data }) => {
        invariant(ArrayBuffer.isView(data), 'C has no strings');
        return [words(data.byteLength, 0), new Uint8Array(data.buffer, data.byteOffset, data.byteLength)];
      }),
    ];
  } catch (error) {
    refused.push(error);
    return [words(1)];
  }
}

/** Sizes that inputs decide are known here too; they must agree with what C wrote. */
function checkShape(
  name: string,
  output: RuntimeTensor | undefined,
  shape: EntrySpec['outputs'][number]['shape'],
  symbols: ReadonlyMap<string, number>,
): void {
  const known = JSON.stringify(shape)
    .match(/"[^"]+"/g)
    ?.every((s) => symbols.has(JSON.parse(s)) || /^"([-+*%]|\/\/|min|max)"$/.test(s));
  if (known === false) return;
  shape.forEach((size, axis) => {
    const expected = evalSize(size, symbols);
    invariant(
      output?.shape[axis] === expected,
      `C gave "${name}" the size ${output?.shape[axis]} on axis ${axis}, not ${expected}`,
    );
  });
}

const words = (...values: readonly number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer);

function encodeRun(
  command: number,
  model: number,
  entry: number,
  spec: EntrySpec,
  inputs: Readonly<Record<string, RuntimeTensor>>,
): Uint8Array[] {
  const parts = [words(model, command, entry, spec.inputs.length)];
  for (const { name } of spec.inputs) {
    const t = inputs[name];
    if (!t || !ArrayBuffer.isView(t.data)) throw new CompileError('E402', `input "${name}" has no bytes`);
    const bytes = new Uint8Array(t.data.buffer, t.data.byteOffset, t.data.byteLength);
    parts.push(
      words(t.shape.length, ...t.shape, bytes.byteLength % 2 ** 32, Math.floor(bytes.byteLength / 2 ** 32)),
      bytes,
    );
  }
  return parts;
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function checkStatus(reply: DataView, spec: EntrySpec): void {
  const status = reply.getUint32(0, true);
  if (status === 1)
    throw new CompileError('E402', `the C of entry "${spec.name}" gave status 1: a size is out of its bounds`);
  invariant(status === 0, `the C of entry "${spec.name}" refused its inputs with status ${status}`);
}

function decodeReply(reply: Uint8Array, spec: EntrySpec): Record<string, RuntimeTensor> {
  checkStatus(viewOf(reply), spec);
  const tensors = decodeTensors(reply, 8, spec.outputs as readonly { readonly dtype: DType }[]);
  return Object.fromEntries(spec.outputs.map(({ name }, k) => [name, tensors[k] as RuntimeTensor]));
}

/** Tensors of known types, one after another. */
function decodeTensors(bytes: Uint8Array, from: number, types: readonly { readonly dtype: DType }[]) {
  const view = viewOf(bytes);
  let at = from;
  return types.map(({ dtype }): Tensor => {
    const rank = view.getUint32(at, true);
    const shape = Array.from({ length: rank }, (_, i) => view.getInt32(at + 4 + 4 * i, true));
    at += 4 + 4 * rank;
    const length = Number(view.getBigUint64(at, true));
    at += 8;
    const data = bytes.slice(at, at + length);
    at += length;
    const Storage = STORAGE[dtype as Exclude<DType, 'string'>];
    return { dtype, shape, data: new Storage(data.buffer) };
  });
}
