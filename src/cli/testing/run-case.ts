// One case on one target: compile, run every data set, compare. Whatever goes wrong becomes a verdict, never an exception:
// a CompileError means the case is not supported, anything else that it failed.

import { type CompileOptions, importSource, lowerToProgram } from '../../compile.js';
import type { Program, ProgramEntry } from '../../ir/program.js';
import type { Module } from '../../ir/tensor.js';
import type { RuntimeTensor, Session } from '../../runtime/session.js';
import { isFloat } from '../../support/dtype.js';
import { CompileError, formatProblem } from '../../support/errors.js';
import type { Tensor } from '../../support/tensor.js';
import type { Target } from '../targets.js';
import type { CaseMeta } from './case-meta.js';
import { compareTensors, defaultTolerance, type ElementRange, type Tolerance } from './compare.js';
import { flatSet, structuresSeen } from './structured-values.js';
import { type DataSet, scalarsSeen, sizesSeen, type TestCase } from './test-case.js';

export type Status = 'passed' | 'failed' | 'unsupported';

export interface Verdict {
  readonly status: Status;
  readonly reason: string;
  readonly hostOps: readonly string[];
}

/** How cases are compiled and judged; plain data, so that it can be sent to a worker. */
export interface CheckOptions {
  readonly rounding: 'single' | 'double';
  readonly numerics: 'fast' | 'strict';
  /** Refuse what would run in the WebAssembly twin of WebGPU. */
  readonly strict: boolean;
  /** Allow each output the spread its meta.json records between runtimes. */
  readonly loose: boolean;
  /** Replaces every default tolerance; meta.json still wins. */
  readonly tolerance: Partial<Tolerance>;
}

export interface PreparedCase {
  readonly testCase: TestCase;
  readonly module: Module;
  readonly options: CompileOptions;
  readonly programs: Map<Target, Program>;
}

/** Imports, with sizes bounded by what the data sets hold. */
export function prepareCase(read: TestCase, check: CheckOptions, plugins: CompileOptions['plugins']): PreparedCase {
  const { model, sets } = read;
  const sizes = sizesSeen(
    model,
    sets.map((set) => set.inputs.map((v) => (v.kind === 'tensor' ? v.tensor : undefined))),
  );
  const options: CompileOptions = {
    ...sizes,
    structures: structuresSeen(model, sets),
    rounding: check.rounding,
    numerics: check.numerics,
    strict: check.strict,
    ...(plugins ? { plugins } : {}),
  };
  const testCase = { ...read, sets: sets.map(flatSet) };
  const prepared = (o: CompileOptions): PreparedCase => ({
    testCase,
    module: importSource(model, o),
    options: o,
    programs: new Map(),
  });
  try {
    return prepared(options);
  } catch (error) {
    // Where lengths of sequences hang on single integers, the program is made for those of the data.
    const scalars = scalarsSeen(model, sets);
    if (!(error instanceof CompileError) || Object.keys(scalars).length === 0) throw error;
    return prepared({ ...options, dims: { ...options.dims, ...scalars } });
  }
}

export function compileFor(prepared: PreparedCase, target: Target): Program {
  const known = prepared.programs.get(target);
  if (known) return known;
  const program = lowerToProgram(prepared.module, { ...prepared.options, target });
  prepared.programs.set(target, program);
  return program;
}

export interface RunLimits {
  readonly check: CheckOptions;
  /** For one run of the model. */
  readonly timeoutMs: number;
  /** Floats are given at least this, whatever else holds. */
  readonly least?: Tolerance | undefined;
}

/** Runs all data sets; '' when every output is as expected, else the first difference. */
export async function checkSession(
  testCase: TestCase,
  program: Program,
  session: Session,
  limits: RunLimits,
): Promise<string> {
  const entry = program.entries[0] as ProgramEntry;
  for (const [k, set] of testCase.sets.entries()) {
    if (k > 0 && !testCase.meta.stateful) await session.reset();
    const outputs = await withTimeout(session.run(bindInputs(entry, set)), limits.timeoutMs);
    const problem = compareSet(testCase.meta, entry, set, outputs, limits);
    if (problem) return testCase.sets.length > 1 ? `${set.name}: ${problem}` : problem;
  }
  return '';
}

/** The data of one set by the names of the inputs they go to. */
export function bindInputs(entry: ProgramEntry, set: DataSet): Record<string, RuntimeTensor> {
  const inputs: Record<string, RuntimeTensor> = {};
  set.inputs.forEach((v, k) => {
    const name = entry.inputs[k]?.name;
    if (name === undefined)
      throw new CompileError('E402', `there is data for input ${k}, and the model has ${entry.inputs.length} inputs`);
    if (v.kind === 'tensor') inputs[name] = v.tensor as RuntimeTensor;
  });
  return inputs;
}

function compareSet(
  meta: CaseMeta,
  entry: ProgramEntry,
  set: DataSet,
  outputs: Readonly<Record<string, RuntimeTensor>>,
  { check, least }: RunLimits,
): string {
  for (const [k, value] of set.expected.entries()) {
    const name = entry.outputs[k]?.name;
    const got = name === undefined ? undefined : outputs[name];
    if (!got || value.kind !== 'tensor') return `output ${k} is missing`;
    const range = definedRange(meta, k, set);
    if (range === 'none') continue;
    const tolerance = withLeast(toleranceOf(meta, k, value.tensor, check), value.tensor, least);
    const problem = compareTensors(got as Tensor, value.tensor, tolerance, range);
    if (problem) return `output ${k} "${name}": ${problem}`;
  }
  return '';
}

const withLeast = (t: Tolerance, want: Tensor, least: Tolerance | undefined): Tolerance =>
  least && isFloat(want.dtype) ? { rtol: Math.max(t.rtol, least.rtol), atol: Math.max(t.atol, least.atol) } : t;

function toleranceOf(meta: CaseMeta, k: number, want: Tensor, check: CheckOptions): Tolerance {
  const own = meta.outputs[k] ?? {};
  const fallback = meta.bitExact
    ? { rtol: 0, atol: 0 }
    : { ...defaultTolerance(want.dtype), ...overrides(want, check) };
  const atol = own.atol ?? fallback.atol;
  return { rtol: own.rtol ?? fallback.rtol, atol: check.loose ? Math.max(atol, own.loose_atol ?? 0) : atol };
}

const overrides = (want: Tensor, check: CheckOptions): Partial<Tolerance> =>
  defaultTolerance(want.dtype).rtol > 0 ? check.tolerance : {};

/** Which elements of output k are defined; undefined: all. */
function definedRange(meta: CaseMeta, k: number, set: DataSet): ElementRange | 'none' | undefined {
  const mask = meta.mask[String(k)];
  if (mask === undefined || typeof mask !== 'string') return mask;
  const flag = set.expected[Number(/^valid_by_output_(\d+)$/.exec(mask)?.[1])];
  const valid = flag?.kind !== 'tensor' || Number(flag.tensor.data[0]) !== 0;
  return valid ? undefined : 'none';
}

export class TimeoutError extends Error {}

async function withTimeout<T>(work: Promise<T>, milliseconds: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new TimeoutError(timeoutText(milliseconds))), milliseconds);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

export const timeoutText = (milliseconds: number): string => `no answer within ${Math.round(milliseconds / 1000)} s`;

/** `compiling`: a CompileError says the case is not supported; while running it is a failure like any other. */
export function verdictOf(error: unknown, compiling: boolean): Verdict {
  if (error instanceof CompileError) {
    const reason = error.problems.map(formatProblem).join('\n');
    return { status: compiling ? 'unsupported' : 'failed', reason, hostOps: [] };
  }
  const e = error instanceof Error ? error : new Error(String(error));
  const debug = process.env.HEDDLE_DEBUG === '1' && !(e instanceof TimeoutError);
  return { status: 'failed', reason: debug ? (e.stack ?? e.message) : e.message, hostOps: [] };
}
