// Joins what a sweep's shards reported: coverage reports or test reports, in any order, into the report of the whole.

import { CompileError } from '../../support/errors.js';
import { interleave } from '../shard.js';
import { type CaseReport, countCases, type TestReport } from '../testing/report.js';
import { type CoverageReport, operatorSetOf } from './report.js';
import { readJson } from './test-results.js';

export type AnyReport =
  | { readonly kind: 'coverage'; readonly report: CoverageReport }
  | { readonly kind: 'test'; readonly report: TestReport };

/** E403 where a file is no report, or the reports do not make up one sweep. */
export function mergeReports(files: readonly string[]): AnyReport {
  const read = files.map((file) => classify(readJson(file), file));
  const coverage = read.flatMap((r) => (r.kind === 'coverage' ? [r.report] : []));
  const tests = read.flatMap((r) => (r.kind === 'test' ? [r.report] : []));
  if (coverage.length > 0 && tests.length > 0) throw new CompileError('E403', 'coverage and test reports do not mix');
  return tests.length > 0
    ? { kind: 'test', report: mergeTests(tests) }
    : { kind: 'coverage', report: mergeCoverage(coverage) };
}

function classify(json: unknown, file: string): AnyReport {
  const { targets, models, operators } = json as Partial<CoverageReport>;
  if (Array.isArray(models) || operators) return { kind: 'coverage', report: json as CoverageReport };
  const isTest = Array.isArray(targets) && targets.every((t: unknown) => typeof t === 'object');
  if (isTest) return { kind: 'test', report: json as TestReport };
  throw new CompileError('E403', 'neither a coverage nor a test report in JSON', { at: { file } });
}

function mergeCoverage(reports: readonly CoverageReport[]): CoverageReport {
  const targets = sameTargets(reports.map((r) => r.targets));
  const set = reports.map(operatorSetOf).find(Boolean);
  const models = joined(reports, (r) => r.models ?? []);
  return { targets, models, ...set };
}

function mergeTests(reports: readonly TestReport[]): TestReport {
  const names = sameTargets(reports.map((r) => r.targets.map((t) => t.target)));
  const casesOn = (r: TestReport, target: string): readonly CaseReport[] =>
    r.targets.find((t) => t.target === target)?.cases ?? [];
  const excluded = new Map(reports.flatMap((r) => r.excluded ?? []).map((x) => [x.name, x]));
  return {
    excluded: [...excluded.values()],
    targets: names.map((target) =>
      countCases(
        target,
        joined(reports, (r) => casesOn(r, target)),
      ),
    ),
  };
}

/** Shards interleaved; reports that are none, one after another. */
function joined<R extends CoverageReport | TestReport, T>(
  reports: readonly R[],
  list: (r: R) => readonly T[],
): readonly T[] {
  if (reports.every((r) => !r.shard)) return reports.flatMap(list);
  return interleave(
    reports.map((r) => {
      if (!r.shard) throw new CompileError('E403', 'some of the reports are shards, and some are not');
      return { shard: r.shard, list: list(r) };
    }),
  );
}

function sameTargets<T extends string>(lists: readonly (readonly T[])[]): readonly T[] {
  const [first = []] = lists;
  if (lists.some((l) => l.join() !== first.join()))
    throw new CompileError('E403', 'the reports are about different targets', {
      hint: 'Run every shard with the same --target',
    });
  return first;
}
