// Threads: the code that runs the shares of a kernel. `fork` publishes a job, takes shares until there are none and waits for
// those that others took; `work` is a helper's whole life; `share` calls one kernel for one share. A share goes to whoever is
// free: a helper that sleeps, or has a slower processor, delays nobody. Without helpers one thread does all, with the same results.

import type { Kernel } from '../../ir/kernel.js';
import type { Program } from '../../ir/program.js';
import { CodeWriter, type Local } from './code.js';
import type { FunctionBody } from './encoder.js';
import { argumentsOf, JOB, sharedKernels } from './job.js';

/** What helpers call; no entry has such a name. */
export const WORK = '#work';

/** Looks at a word before sleeping: some 50 µs, longer than from one kernel to the next. */
const PATIENCE = 20_000;

export interface ThreadCode {
  readonly functions: readonly FunctionBody[];
  /** Position among `functions`. */
  readonly fork: number;
  readonly work: number;
}

/** `firstKernel`, `firstOwn`: indices of the program's first kernel and of the first function made here. */
export function emitThreads(program: Program, job: number, firstKernel: number, firstOwn: number): ThreadCode {
  const kernels = sharedKernels(program);
  const index = (k: Kernel): number => firstKernel + program.kernels.indexOf(k);
  const functions = [emitShare(kernels, job, index), emitFork(job, firstOwn), emitWork(job, firstOwn)];
  return { functions, fork: 1, work: 2 };
}

/** (kernel, share, thread): a table of calls, each with the job's arguments. */
function emitShare(kernels: readonly Kernel[], job: number, index: (k: Kernel) => number): FunctionBody {
  const c = new CodeWriter('#share', { params: ['i32', 'i32', 'i32'], results: [] });
  const labels = kernels.map(() => c.open('block')).reverse();
  c.get(c.param(0));
  c.branchTable(labels);
  for (const k of kernels) {
    c.close();
    for (let i = 0; i < argumentsOf(k); i++) load(c, job + JOB.args + 4 * i);
    c.get(c.param(1));
    c.get(c.param(2));
    c.call(index(k));
    c.op('return');
  }
  return c.finish();
}

/** (kernel, shares): its arguments are in the job. The rest is written before `untaken`, which lets helpers in. */
function emitFork(job: number, share: number): FunctionBody {
  const c = new CodeWriter('#fork', { params: ['i32', 'i32'], results: [] });
  const words = [
    [JOB.kernel, c.param(0)],
    [JOB.left, c.param(1)],
  ] as const;
  for (const [at, value] of words) {
    c.i32(0);
    c.get(value);
    c.memory('i32.store', job + at, 2);
  }
  c.i32(0);
  c.get(c.param(1));
  c.memory('i32.atomic.store', job + JOB.untaken, 2);
  const helpers = c.local('i32');
  load(c, job + JOB.helpers);
  c.set(helpers);
  when(c, helpers, () => {
    atomicAdd(c, job + JOB.number, 1);
    c.op('drop');
    c.i32(0);
    c.get(helpers);
    c.memory('memory.atomic.notify', job + JOB.number, 2);
    c.op('drop');
  });
  const self = c.local('i32');
  c.i32(0);
  c.set(self);
  takeShares(c, job, self, share);
  when(c, helpers, () => join(c, job));
  return c.finish();
}

/** Waits until no share is left; traps where a helper failed. */
function join(c: CodeWriter, job: number): void {
  const [left, looks] = [c.local('i32'), c.local('i32')];
  c.i32(0);
  c.set(looks);
  const done = c.open('block');
  const again = c.open('loop');
  atomicLoad(c, job + JOB.left);
  c.tee(left);
  c.op('i32.eqz');
  c.branch(done, true);
  atomicLoad(c, job + JOB.failed);
  c.open('if');
  c.op('unreachable');
  c.close();
  look(c, looks, again);
  load(c, job + JOB.sleeps);
  c.op('i32.eqz');
  c.branch(again, true);
  c.i32(0);
  c.get(left);
  c.i64(1_000_000n);
  c.memory('memory.atomic.wait32', job + JOB.left, 2);
  c.op('drop');
  c.branch(again, false);
  c.close();
  c.close();
}

/** (helper, from 1): waits for jobs and takes their shares, until told to quit. */
function emitWork(job: number, share: number): FunctionBody {
  const c = new CodeWriter(WORK, { params: ['i32'], results: [] });
  const [seen, now, looks] = ['i32', 'i32', 'i32'].map(() => c.local('i32')) as [Local, Local, Local];
  const next = c.open('loop');
  c.i32(0);
  c.set(looks);
  const arrived = c.open('block');
  const again = c.open('loop');
  atomicLoad(c, job + JOB.quit);
  c.open('if');
  c.op('return');
  c.close();
  atomicLoad(c, job + JOB.number);
  c.tee(now);
  c.get(seen);
  c.op('i32.ne');
  c.branch(arrived, true);
  look(c, looks, again);
  c.i32(0);
  c.get(seen);
  c.i64(-1n);
  c.memory('memory.atomic.wait32', job + JOB.number, 2);
  c.op('drop');
  c.branch(again, false);
  c.close();
  c.close();
  c.get(now);
  c.set(seen);
  takeShares(c, job, c.param(0), share);
  c.branch(next, false);
  c.close();
  return c.finish();
}

/** Shares one after the other while there are any. Whoever has taken one reads only then what it is of: that job stays until
 *  the share is done, even where it is a later one than the thread has heard of. The last one done wakes the thread that waits. */
function takeShares(c: CodeWriter, job: number, thread: Local, share: number): void {
  const at = c.local('i32');
  const done = c.open('block');
  const loop = c.open('loop');
  atomicAdd(c, job + JOB.untaken, -1);
  c.i32(1);
  c.op('i32.sub');
  c.tee(at);
  c.i32(0);
  c.op('i32.lt_s');
  c.branch(done, true);
  load(c, job + JOB.kernel);
  c.get(at);
  c.get(thread);
  c.call(share);
  atomicAdd(c, job + JOB.left, -1);
  c.i32(1);
  c.op('i32.eq');
  c.open('if');
  c.i32(0);
  c.i32(1);
  c.memory('memory.atomic.notify', job + JOB.left, 2);
  c.op('drop');
  c.close();
  c.branch(loop, false);
  c.close();
  c.close();
}

/** Branches back while there is patience left. */
function look(c: CodeWriter, looks: Local, again: number): void {
  c.get(looks);
  c.i32(1);
  c.op('i32.add');
  c.tee(looks);
  c.i32(PATIENCE);
  c.op('i32.lt_s');
  c.branch(again, true);
}

function when(c: CodeWriter, condition: Local, write: () => void): void {
  c.get(condition);
  c.open('if');
  write();
  c.close();
}

function load(c: CodeWriter, address: number): void {
  c.i32(0);
  c.memory('i32.load', address, 2);
}

/** The word's value before. */
function atomicAdd(c: CodeWriter, address: number, n: number): void {
  c.i32(0);
  c.i32(n);
  c.memory('i32.atomic.rmw.add', address, 2);
}

function atomicLoad(c: CodeWriter, address: number): void {
  c.i32(0);
  c.memory('i32.atomic.load', address, 2);
}
