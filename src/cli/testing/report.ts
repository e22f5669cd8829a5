// The report of `heddle test`: what --json prints and `coverage merge` joins.

import type { Shard } from '../shard.js';
import type { Target } from '../targets.js';
import type { Verdict } from './run-case.js';

export interface CaseReport extends Verdict {
  readonly name: string;
  /** What its model uses: `ai.onnx:Add@14`; empty where the model cannot be read. */
  readonly ops: readonly string[];
}

export interface TargetReport {
  readonly target: Target;
  readonly total: number;
  readonly passed: number;
  readonly failed: number;
  readonly unsupported: number;
  /** Passed cases that needed a host function. */
  readonly host: number;
  readonly cases: readonly CaseReport[];
}

/** A case that the suite's manifest excludes; it counts nowhere. */
export interface Excluded {
  readonly name: string;
  readonly reason: string;
}

export interface TestReport {
  readonly shard?: Shard;
  readonly excluded?: readonly Excluded[];
  readonly targets: readonly TargetReport[];
}

export function countCases(target: Target, cases: readonly CaseReport[]): TargetReport {
  const count = (status: Verdict['status']): number => cases.filter((c) => c.status === status).length;
  return {
    target,
    total: cases.length,
    passed: count('passed'),
    failed: count('failed'),
    unsupported: count('unsupported'),
    host: cases.filter((c) => c.status === 'passed' && c.hostOps.length > 0).length,
    cases,
  };
}
