// Threads: the code that runs the shares of a kernel. `fork` publishes a job, does its own shares and waits for the helpers;
// `work` is a helper's whole life; `share` calls one kernel for one share. Shares go round the threads, so that without
// helpers one thread does all of them, with the same results.

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
  const shares = Math.max(...kernels.map((k) => k.shares ?? 1));
  const index = (k: Kernel): number => firstKernel + program.kernels.indexOf(k);
  const functions = [emitShare(kernels, job, index), emitFork(job, shares, firstOwn), emitWork(job, shares, firstOwn)];
  return { functions, fork: 1, work: 2 };
}

/** (kernel, share): a table of calls, each with the job's arguments. */
function emitShare(kernels: readonly Kernel[], job: number, index: (k: Kernel) => number): FunctionBody {
  const c = new CodeWriter('#share', { params: ['i32', 'i32'], results: [] });
  const labels = kernels.map(() => c.open('block')).reverse();
  c.get(c.param(0));
  c.branchTable(labels);
  for (const k of kernels) {
    c.close();
    for (let i = 0; i < argumentsOf(k); i++) load(c, job + JOB.args + 4 * i);
    c.get(c.param(1));
    c.call(index(k));
    c.op('return');
  }
  return c.finish();
}

/** (kernel): its arguments are in the job. */
function emitFork(job: number, shares: number, share: number): FunctionBody {
  const c = new CodeWriter('#fork', { params: ['i32'], results: [] });
  const helpers = c.local('i32');
  load(c, job + JOB.helpers);
  c.set(helpers);
  when(c, helpers, () => {
    c.i32(0);
    c.get(c.param(0));
    c.memory('i32.store', job + JOB.kernel, 2);
    c.i32(0);
    c.get(helpers);
    c.memory('i32.atomic.store', job + JOB.busy, 2);
    c.i32(0);
    c.i32(1);
    c.memory('i32.atomic.rmw.add', job + JOB.number, 2);
    c.op('drop');
    c.i32(0);
    c.get(helpers);
    c.memory('memory.atomic.notify', job + JOB.number, 2);
    c.op('drop');
  });
  const first = c.local('i32');
  c.i32(0);
  c.set(first);
  ownShares(c, c.param(0), first, helpers, shares, share);
  when(c, helpers, () => join(c, job));
  return c.finish();
}

/** Waits until no helper is busy; traps where one failed. */
function join(c: CodeWriter, job: number): void {
  const [busy, looks] = [c.local('i32'), c.local('i32')];
  c.i32(0);
  c.set(looks);
  const done = c.open('block');
  const again = c.open('loop');
  atomicLoad(c, job + JOB.busy);
  c.tee(busy);
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
  c.get(busy);
  c.i64(1_000_000n);
  c.memory('memory.atomic.wait32', job + JOB.busy, 2);
  c.op('drop');
  c.branch(again, false);
  c.close();
  c.close();
}

/** (helper, from 1): waits for jobs and does its shares, until told to quit. */
function emitWork(job: number, shares: number, share: number): FunctionBody {
  const c = new CodeWriter(WORK, { params: ['i32'], results: [] });
  const [seen, now, looks, kernel, helpers, at] = ['i32', 'i32', 'i32', 'i32', 'i32', 'i32'].map(() =>
    c.local('i32'),
  ) as [Local, Local, Local, Local, Local, Local];
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
  load(c, job + JOB.kernel);
  c.set(kernel);
  load(c, job + JOB.helpers);
  c.set(helpers);
  c.get(c.param(0));
  c.set(at);
  ownShares(c, kernel, at, helpers, shares, share);
  c.i32(0);
  c.i32(1);
  c.memory('i32.atomic.rmw.sub', job + JOB.busy, 2);
  c.i32(1);
  c.op('i32.eq');
  c.open('if');
  c.i32(0);
  c.i32(1);
  c.memory('memory.atomic.notify', job + JOB.busy, 2);
  c.op('drop');
  c.close();
  c.branch(next, false);
  c.close();
  return c.finish();
}

/** Every (helpers + 1)-th share from `at`. */
function ownShares(c: CodeWriter, kernel: Local, at: Local, helpers: Local, shares: number, share: number): void {
  const done = c.open('block');
  const loop = c.open('loop');
  c.get(at);
  c.i32(shares);
  c.op('i32.ge_s');
  c.branch(done, true);
  c.get(kernel);
  c.get(at);
  c.call(share);
  c.get(at);
  c.get(helpers);
  c.op('i32.add');
  c.i32(1);
  c.op('i32.add');
  c.set(at);
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

function atomicLoad(c: CodeWriter, address: number): void {
  c.i32(0);
  c.memory('i32.atomic.load', address, 2);
}
