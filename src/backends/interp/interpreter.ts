// Runs a Program here and now: steps in order, kernels as JavaScript compiled when first met. The definition that other
// targets are compared with, the compiler's constant folder, and the home of host ops. Creating one costs nothing.

import { type Dim, evalDim } from '../../ir/dim.js';
import type { BufferRef, HostArg, Program, ProgramValue, Step } from '../../ir/program.js';
import type { RuntimeTensor, Session } from '../../runtime/session.js';
import { CompileError, invariant, never } from '../../support/errors.js';
import { sizeOf, type Tensor, type TypedArray } from '../../support/tensor.js';
import { describeEntry, findEntry, outsideSize, solveInputs } from '../entry-spec.js';
import { compileKernel, type KernelFunction } from './compile-kernel.js';
import { createMemory, type Memory } from './memory.js';

export interface InterpreterOptions {
  /** Called after each kernel, bind and host step; `read` views buffers as they are at that moment. */
  readonly onStep?: (step: Step, read: (ref: BufferRef, elements: number) => TypedArray) => void;
}

export interface Interpreter extends Session {
  /** As `run`, without waiting. */
  readonly runSync: (inputs: Readonly<Record<string, RuntimeTensor>>, entry?: string) => Record<string, Tensor>;
}

/** What running a list of steps needs. `env` holds every size symbol's current value. */
interface Run {
  readonly program: Program;
  readonly memory: Memory;
  readonly functions: Map<number, KernelFunction>;
  readonly env: Map<string, number>;
  readonly onStep: ((step: Step) => void) | undefined;
}

export function createInterpreter(program: Program, options: InterpreterOptions = {}): Interpreter {
  let memory: Memory | undefined;
  const functions = new Map<number, KernelFunction>();

  const runSync: Interpreter['runSync'] = (inputs, name) => {
    const index = findEntry(program, name);
    const entry = program.entries[index];
    invariant(entry, `no entry ${index}`);
    const env = new Map(solveInputs(describeEntry(entry), inputs));
    memory ??= createMemory(program);
    memory.enter(index, inputs);
    const m = memory;
    const { onStep } = options;
    const read = (ref: BufferRef, n: number): TypedArray => m.view(ref, env, m.bufferOf(ref.buffer).dtype, n);
    runSteps({ program, memory, functions, env, onStep: onStep && ((step) => onStep(step, read)) }, entry.steps);
    return Object.fromEntries(entry.outputs.map((value) => [value.name, readValue(m, value, env)]));
  };

  return {
    runSync,
    run: async (inputs, entry) => runSync(inputs, entry),
    reset: async () => memory?.resetState(),
    close: async () => {
      memory = undefined;
    },
  };
}

function readValue(m: Memory, value: ProgramValue, env: ReadonlyMap<string, number>): Tensor {
  const tensor = viewTensor(
    m,
    { ref: { buffer: value.buffer, offset: 0 }, dtype: value.dtype, shape: value.shape },
    env,
  );
  return { ...tensor, data: tensor.data.slice() as Tensor['data'] };
}

function viewTensor(m: Memory, arg: HostArg, env: ReadonlyMap<string, number>): Tensor {
  const shape = arg.shape.map((d: Dim) => evalDim(d, env));
  const data =
    arg.dtype === 'string' ? (m.strings.get(arg.ref.buffer) ?? []) : m.view(arg.ref, env, arg.dtype, sizeOf(shape));
  return { dtype: arg.dtype, shape, data };
}

function runSteps(r: Run, steps: readonly Step[]): void {
  for (const step of steps) runStep(r, step);
}

function runStep(r: Run, step: Step): void {
  switch (step.kind) {
    case 'kernel':
      runKernel(r, step);
      r.onStep?.(step);
      break;
    case 'bind':
      bindSymbol(r, step);
      r.onStep?.(step);
      break;
    case 'host':
      runHost(r, step);
      r.onStep?.(step);
      break;
    case 'if':
      runSteps(r, isSet(r, step.cond) ? step.then : step.else);
      break;
    case 'loop': {
      const count = evalDim(step.count, r.env);
      for (let i = 0; i < count; i++) {
        r.env.set(step.sym.name, i);
        runSteps(r, step.body);
      }
      break;
    }
    case 'while':
      for (;;) {
        runSteps(r, step.test);
        if (!isSet(r, step.cond)) return;
        runSteps(r, step.body);
      }
    default:
      never(step, 'step');
  }
}

const isSet = (r: Run, cond: BufferRef): boolean => r.memory.view(cond, r.env, 'u8', 1)[0] !== 0;

function runKernel(r: Run, step: Step & { kind: 'kernel' }): void {
  const kernel = r.program.kernels[step.kernel];
  invariant(kernel, `no kernel ${step.kernel}`);
  let run = r.functions.get(step.kernel);
  if (!run) {
    run = compileKernel(kernel);
    r.functions.set(step.kernel, run);
  }
  const buffers = step.buffers.map((ref, i) => r.memory.view(ref, r.env, kernel.params[i]?.dtype ?? 'u8'));
  run(...buffers, ...step.dims.map((d) => evalDim(d, r.env)));
}

function bindSymbol(r: Run, step: Step & { kind: 'bind' }): void {
  const value = r.memory.view(step.from, r.env, r.memory.bufferOf(step.from.buffer).dtype, 1)[0];
  invariant(value !== undefined, `nothing to read ${step.sym.name} from`);
  const { lo, hi, checked } = step.sym;
  if (checked && !(value >= lo && value <= hi)) throw new CompileError('E402', ...outsideSize(step.sym, Number(value)));
  r.env.set(step.sym.name, Math.min(hi, Math.max(lo, Number(value))));
}

function runHost(r: Run, step: Step & { kind: 'host' }): void {
  const results = step.call(step.inputs.map((arg) => viewTensor(r.memory, arg, r.env)));
  for (const [i, arg] of step.outputs.entries()) {
    const result = results[i];
    invariant(result, `${step.op} gave no output ${i}`);
    if (arg.dtype === 'string') r.memory.strings.set(arg.ref.buffer, result.data as readonly string[]);
    else writeView(r, step.op, arg, result.data as TypedArray);
  }
}

function writeView(r: Run, op: string, arg: HostArg, data: TypedArray): void {
  const into = r.memory.view(arg.ref, r.env, arg.dtype);
  invariant(data.length <= into.length, `${op}: a result is larger than its buffer`);
  into.set(data as never);
}
