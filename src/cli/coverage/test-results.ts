// Test results by operator: how many of the cases that use an operator, or one version of it, pass on each target.
// Read from reports of `heddle test --json`, which name the operators of every case.

import { readFileSync } from 'node:fs';
import { CompileError } from '../../support/errors.js';
import { whyNot } from '../model-file.js';
import type { CaseReport, TestReport } from '../testing/report.js';
import type { TestCount } from './report.js';

/** By target, then by `domain:Op@version` and `domain:Op`. */
export type TestResults = ReadonlyMap<string, ReadonlyMap<string, TestCount>>;

export const NO_TESTS: TestCount = { passed: 0, total: 0 };

export function countByOperator(reports: readonly TestReport[]): TestResults {
  const results = new Map<string, Map<string, TestCount>>();
  for (const { target, cases } of reports.flatMap((r) => r.targets)) {
    const counts = results.get(target) ?? new Map<string, TestCount>();
    results.set(target, counts);
    for (const c of cases)
      for (const key of new Set(c.ops.flatMap((op) => [op, op.replace(/@\d+$/, '')]))) {
        const { passed, total } = counts.get(key) ?? NO_TESTS;
        counts.set(key, { passed: passed + (c.status === 'passed' ? 1 : 0), total: total + 1 });
      }
  }
  return results;
}

export const readTestReport = (path: string): TestReport => {
  const report = readJson(path) as Partial<TestReport>;
  const whole = Array.isArray(report.targets) && report.targets.every((t) => Array.isArray(t?.cases));
  if (!whole) throw new CompileError('E403', 'not a report of `heddle test --json`', { at: { file: path } });
  if (report.targets?.some((t) => t.cases.some((c: Partial<CaseReport>) => !Array.isArray(c.ops))))
    throw new CompileError('E403', 'its cases do not name their operators: write it anew', { at: { file: path } });
  return report as TestReport;
};

export function readJson(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new CompileError('E101', `"${path}" cannot be read: ${whyNot(cause)}`);
  }
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value;
    throw new Error('no object');
  } catch (cause) {
    throw new CompileError('E403', `not JSON: ${(cause as Error).message}`, { at: { file: path } });
  }
}
