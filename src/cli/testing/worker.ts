// Runs chunks of cases in a thread or process of its own (lane.ts). Before each step it says what it is about to do, so that the pool knows
// whom to blame if the thread hangs or dies. Programs for C are gathered and built by one compiler call a chunk.

import { parentPort, workerData } from 'node:worker_threads';
import type { AnyRecord } from '../../frontend/ops/record.js';
import type { Program } from '../../ir/program.js';
import type { Session } from '../../runtime/session.js';
import { invariant } from '../../support/errors.js';
import { operatorsUsed } from '../operators-used.js';
import { loadPlugins } from '../plugins.js';
import { hostOps, leastTolerance, openC, openSession, refuseForC, type Target } from '../targets.js';
import {
  type CheckOptions,
  checkSession,
  compileFor,
  prepareCase,
  TimeoutError,
  type Verdict,
  verdictOf,
} from './run-case.js';
import { readCase, type TestCase } from './test-case.js';

export interface WorkerOptions {
  readonly check: CheckOptions;
  readonly plugins: readonly string[];
}

/** A case and the targets it is still to be run on. */
export interface Task {
  readonly index: number;
  readonly dir: string;
  readonly targets: readonly Target[];
  readonly timeoutMs: number;
}

/** Targets a step is about; the chunk's one C build has no case. */
export interface StepNotice {
  readonly kind: 'step';
  readonly index: number | null;
  readonly targets: readonly Target[];
  readonly timeoutMs: number;
}

export type WorkerMessage =
  | StepNotice
  | { readonly kind: 'result'; readonly index: number; readonly target: Target; readonly verdict: Verdict }
  /** What the case's model uses. */
  | { readonly kind: 'ops'; readonly index: number; readonly ops: readonly string[] }
  | { readonly kind: 'done' }
  /** The process is about to end: a run that it cannot stop would slow down all that follow. */
  | { readonly kind: 'leaving' };

/** Long enough for any chunk; a compiler that never returns is still noticed. */
const BUILD_MS = 900_000;

interface Built {
  readonly task: Task;
  readonly testCase: TestCase;
  readonly program: Program;
}

/** The way back to the pool. */
interface Port {
  readonly postMessage: (message: WorkerMessage) => void;
  readonly onTasks: (f: (tasks: readonly Task[]) => void) => void;
  /** Ends a worker that is a process once all messages are out; the pool starts another. */
  readonly leave: () => Promise<void>;
}

interface Context {
  readonly port: Port;
  readonly options: WorkerOptions;
  readonly plugins: readonly AnyRecord[];
}

const processPort: Port = {
  postMessage: (m) => void process.send?.(m),
  onTasks: (f) => void process.on('message', (tasks) => f(tasks as readonly Task[])),
  leave: () =>
    new Promise(() => {
      process.send?.({ kind: 'leaving' } satisfies WorkerMessage, () => process.exit(1));
    }),
};

if (parentPort) {
  const port = parentPort;
  const threadPort: Port = {
    postMessage: (m) => port.postMessage(m),
    onTasks: (f) => void port.on('message', f),
    leave: async () => undefined,
  };
  await serve(threadPort, workerData as WorkerOptions);
} else if (process.send) {
  process.once('disconnect', () => process.exit());
  process.once('message', (options) => void serve(processPort, options as WorkerOptions));
}

async function serve(port: Port, options: WorkerOptions): Promise<void> {
  const early: (readonly Task[])[] = [];
  let run = (tasks: readonly Task[]): void => void early.push(tasks);
  port.onTasks((tasks) => run(tasks)); // before anything is awaited: tasks may be on their way
  const context: Context = { port, options, plugins: await loadPlugins(options.plugins) };
  run = (tasks) => void runChunk(tasks, context).then(() => send(port, { kind: 'done' }));
  early.forEach(run);
}

// Declared as functions: a worker's first tasks arrive before the module has run to its end.
function send(port: Port, message: WorkerMessage): void {
  port.postMessage(message);
}

async function runChunk(tasks: readonly Task[], context: Context): Promise<void> {
  const forC: Built[] = [];
  for (const task of tasks) forC.push(...(await runTask(task, context)));
  if (forC.length > 0) await runOnC(forC, context);
}

/** A software device compiles its shaders slowly, and runs them no faster. */
function patience(target: Target): number {
  return target === 'webgpu' ? 4 : 1;
}

/** Everything but C; gives back what is to be built for C. */
async function runTask(task: Task, context: Context): Promise<readonly Built[]> {
  const { index, dir, targets, timeoutMs } = task;
  const { port, options, plugins } = context;
  send(port, { kind: 'step', index, targets, timeoutMs });
  const forC: Built[] = [];
  try {
    const read = readCase(dir, options.check.rounding);
    send(port, { kind: 'ops', index, ops: operatorsUsed(read.model) });
    const prepared = prepareCase(read, options.check, plugins);
    for (const target of targets) {
      send(port, { kind: 'step', index, targets: [target], timeoutMs: timeoutMs * patience(target) });
      try {
        const built = { task, testCase: prepared.testCase, program: compileFor(prepared, target) };
        if (target === 'c') {
          await refuseForC(built.program);
          forC.push(built);
        } else await runOn(target, built, () => openSession(target, built.program), context);
      } catch (error) {
        send(port, { kind: 'result', index, target, verdict: verdictOf(error, true) });
      }
    }
  } catch (error) {
    for (const target of targets) send(port, { kind: 'result', index, target, verdict: verdictOf(error, true) });
  }
  return forC;
}

async function runOn(target: Target, built: Built, open: () => Promise<Session>, context: Context): Promise<void> {
  const session = await open();
  const { task, testCase, program } = built;
  const { port, options } = context;
  const { index } = task;
  const timeoutMs = task.timeoutMs * patience(target);
  send(port, { kind: 'step', index, targets: [target], timeoutMs: (timeoutMs + 1000) * testCase.sets.length });
  let verdict: Verdict;
  let late = false;
  try {
    const limits = { check: options.check, timeoutMs, least: leastTolerance(target) };
    const problem = await checkSession(testCase, program, session, limits);
    verdict = { status: problem ? 'failed' : 'passed', reason: problem, hostOps: hostOps(program) };
  } catch (error) {
    verdict = { ...verdictOf(error, false), hostOps: hostOps(program) };
    late = error instanceof TimeoutError;
  }
  await session.close().catch(() => undefined);
  send(port, { kind: 'result', index, target, verdict });
  if (late) await port.leave();
}

const nameOf = (built: Built): string => `case_${built.task.index}`;

/** Light optimisation: cases run once, so compiling is most of their time. */
const C_FLAGS: readonly string[] = ['-O1', '-w'];

/** One build for all; where that fails, half and half, so that one bad program takes no other down. */
async function runOnC(all: readonly Built[], context: Context): Promise<void> {
  const { port } = context;
  send(port, { kind: 'step', index: null, targets: ['c'], timeoutMs: BUILD_MS });
  let sessions: Map<string, Session>;
  try {
    const timeoutMs = Math.max(...all.map((b) => b.task.timeoutMs));
    sessions = await openC(
      all.map((b) => ({ name: nameOf(b), program: b.program })),
      { cflags: C_FLAGS, timeoutMs },
    );
  } catch (error) {
    const [only, another] = all;
    if (another) {
      const half = Math.ceil(all.length / 2);
      await runOnC(all.slice(0, half), context);
      await runOnC(all.slice(half), context);
    } else if (only)
      send(port, { kind: 'result', index: only.task.index, target: 'c', verdict: verdictOf(error, true) });
    return;
  }
  for (const built of all) {
    const session = sessions.get(nameOf(built));
    invariant(session, 'every program was built');
    await runOn('c', built, async () => session, context);
  }
}
