// Spreads test cases over workers in chunks. A worker that hangs or dies costs the case it was busy with, nothing
// else: the rest of its chunk goes to a fresh one.

import type { Target } from '../targets.js';
import { type Lane, startLane } from './lane.js';
import { timeoutText, type Verdict } from './run-case.js';
import type { StepNotice, Task, WorkerMessage, WorkerOptions } from './worker.js';

/** Cases a thread takes at a time, and so programs in one C compiler call. */
const CHUNK = 48;

export interface PoolOptions extends WorkerOptions {
  readonly jobs: number;
  /** The operators of a case's model. */
  readonly onOps: (index: number, ops: readonly string[]) => void;
  /** Returns false to stop everything. */
  readonly onResult: (index: number, target: Target, verdict: Verdict) => boolean;
}

type Chunk = readonly Task[];

export async function runPool(tasks: readonly Task[], options: PoolOptions): Promise<void> {
  const size = Math.max(1, Math.min(CHUNK, Math.ceil(tasks.length / (options.jobs * 3))));
  const queue: Chunk[] = [];
  for (let k = 0; k < tasks.length; k += size) queue.push(tasks.slice(k, k + size));
  const run = { stopped: false, queue, options };
  await Promise.all(Array.from({ length: Math.min(options.jobs, queue.length) }, () => runLane(run)));
}

interface Run {
  stopped: boolean;
  readonly queue: Chunk[];
  readonly options: PoolOptions;
}

/** Takes chunks until there are none left. */
async function runLane(run: Run): Promise<void> {
  let lane: Lane | undefined;
  for (let chunk = run.queue.shift(); chunk && !run.stopped; chunk = run.queue.shift()) {
    const { check, plugins } = run.options;
    lane ??= startLane({ check, plugins }, new Set(chunk.flatMap((task) => task.targets)));
    const left = await runChunk(lane, chunk, run);
    if (left === null) continue;
    await lane.stop();
    lane = undefined;
    run.queue.unshift(...left);
  }
  await lane?.stop();
}

/** null when the chunk is done; what is left of it when the worker has to be replaced. */
function runChunk(lane: Lane, chunk: Chunk, run: Run): Promise<readonly Chunk[] | null> {
  const pending = new Map(chunk.map((task) => [task.index, new Set(task.targets)]));
  let step: StepNotice | undefined;
  let timer: NodeJS.Timeout | undefined;
  const settle = (index: number, target: Target, verdict: Verdict): void => {
    if (!pending.get(index)?.delete(target)) return;
    if (!run.options.onResult(index, target, verdict)) run.stopped = true;
  };
  /** The step in progress has failed; everything else is to be done again. */
  const blame = (reason: string): readonly Chunk[] => {
    const verdict: Verdict = { status: 'failed', reason, hostOps: [] };
    const left = (): Task[] =>
      chunk
        .map((task) => ({ ...task, targets: [...(pending.get(task.index) ?? [])] }))
        .filter((task) => task.targets.length > 0);
    const rest = left();
    const guilty = step?.index ?? (rest.length === 1 ? rest[0]?.index : undefined);
    if (guilty !== undefined) {
      for (const target of step?.targets ?? rest[0]?.targets ?? []) settle(guilty, target, verdict);
      return left().length > 0 ? [left()] : [];
    }
    return rest.map((task) => [task]);
  };
  return new Promise((resolve) => {
    const finish = (left: readonly Chunk[] | null): void => {
      clearTimeout(timer);
      unlisten();
      resolve(left);
    };
    const onMessage = (message: WorkerMessage): void => {
      if (message.kind === 'done') return finish(null);
      if (message.kind === 'ops') run.options.onOps(message.index, message.ops);
      if (message.kind === 'result') settle(message.index, message.target, message.verdict);
      if (message.kind === 'step') {
        step = message;
        clearTimeout(timer);
        timer = setTimeout(() => finish(blame(timeoutText(message.timeoutMs))), message.timeoutMs + 500);
      }
      if (run.stopped) finish([]);
    };
    const unlisten = lane.listen({ onMessage, onEnd: (reason) => finish(blame(`crashed: ${reason}`)) });
    lane.post(chunk);
  });
}
