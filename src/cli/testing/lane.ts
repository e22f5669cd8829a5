// One worker of the pool: a thread, or for targets whose driver may take its process down or never come back, a process.

import { type ChildProcess, fork } from 'node:child_process';
import { Worker } from 'node:worker_threads';
import type { Target } from '../targets.js';
import type { Task, WorkerMessage, WorkerOptions } from './worker.js';

export interface LaneEvents {
  readonly onMessage: (message: WorkerMessage) => void;
  /** It is gone; why, in words. */
  readonly onEnd: (reason: string) => void;
}

export interface Lane {
  post(tasks: readonly Task[]): void;
  stop(): Promise<void>;
  /** Gives back how to stop listening. */
  listen(events: LaneEvents): () => void;
}

const NEEDS_PROCESS: ReadonlySet<Target> = new Set<Target>(['webgpu']);

export const startLane = (options: WorkerOptions, targets: Iterable<Target>): Lane =>
  [...targets].some((t) => NEEDS_PROCESS.has(t)) ? startProcess(options) : startThread(options);

const script = (): URL => new URL('./worker.js', import.meta.url);

function startThread(options: WorkerOptions): Lane {
  const worker = new Worker(script(), { workerData: options });
  return {
    post: (tasks) => worker.postMessage(tasks),
    stop: async () => void (await worker.terminate()),
    listen({ onMessage, onEnd }) {
      const onError = (error: Error): void => onEnd(error.message);
      const onExit = (code: number): void => onEnd(`the thread ended with code ${code}`);
      worker.on('message', onMessage).on('error', onError).on('exit', onExit);
      return () => void worker.off('message', onMessage).off('error', onError).off('exit', onExit);
    },
  };
}

function startProcess(options: WorkerOptions): Lane {
  const child = fork(script(), { serialization: 'advanced' });
  const post = (message: object): void => void (child.connected && child.send(message));
  post(options);
  return {
    post,
    stop: () => stopProcess(child),
    listen({ onMessage, onEnd }) {
      const take = (message: unknown): void => onMessage(message as WorkerMessage);
      const onError = (error: Error): void => onEnd(error.message);
      const onExit = (code: number | null, signal: string | null): void =>
        onEnd(`the process ended ${signal ? `by ${signal}` : `with code ${code}`}`);
      child.on('message', take).on('error', onError).on('exit', onExit);
      return () => void child.off('message', take).off('error', onError).off('exit', onExit);
    },
  };
}

function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill('SIGKILL');
  });
}
