// `heddle test`: folders in the layout of the ONNX backend tests, run on any target.

import { statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { CommandModule } from 'yargs';
import { CompileError } from '../../support/errors.js';
import { modelIn } from '../model-file.js';
import { STRICT_OPTION } from '../model-options.js';
import { loadPlugins } from '../plugins.js';
import { firstLine, formatTable, printJson, printLine } from '../print.js';
import { startProgress } from '../progress.js';
import { SHARD_OPTION, takeShard } from '../shard.js';
import { TARGETS, type Target } from '../targets.js';
import { type CaseRef, findCases } from '../testing/discover.js';
import { exclusions } from '../testing/manifest.js';
import { runPool } from '../testing/pool.js';
import { type CaseReport, countCases, type Excluded, type TargetReport, type TestReport } from '../testing/report.js';
import type { Verdict } from '../testing/run-case.js';
import type { Task } from '../testing/worker.js';
import { parseTargets } from './parse-targets.js';

interface TestFlags {
  readonly dirs: string[];
  readonly target: string[];
  readonly json: boolean;
  readonly filter: string | undefined;
  readonly jobs: number;
  readonly bail: boolean;
  readonly verbose: boolean;
  readonly timeout: number;
  readonly min: string | undefined;
  readonly allowUnsupported: boolean;
  readonly loose: boolean;
  readonly rtol: number | undefined;
  readonly atol: number | undefined;
  readonly rounding: string;
  readonly numerics: string;
  readonly strict: boolean;
  readonly plugin: string[] | undefined;
  readonly shard: string | undefined;
}

/** A large model gets more time: this for each megabyte of its file. */
const MS_PER_MEGABYTE = 30_000;

export const testCommand: CommandModule<unknown, TestFlags> = {
  command: 'test <dirs..>',
  describe: 'Run conformance cases and compare with the expected outputs',
  builder: (y) =>
    y
      .positional('dirs', { type: 'string', array: true, demandOption: true, describe: 'Cases, or folders to search' })
      .options({
        target: {
          type: 'string',
          array: true,
          nargs: 1,
          default: ['interp'],
          describe: `Of ${TARGETS.join(', ')}; commas separate`,
        },
        json: { type: 'boolean', default: false, describe: 'The whole report as JSON on stdout' },
        filter: {
          type: 'string',
          requiresArg: true,
          describe: 'Only cases whose name matches this regular expression',
        },
        jobs: { type: 'number', requiresArg: true, default: availableParallelism(), describe: 'Threads' },
        bail: { type: 'boolean', default: false, describe: 'Stop at the first failed case' },
        verbose: { type: 'boolean', default: false, describe: 'A line for every case on stderr' },
        timeout: {
          type: 'number',
          requiresArg: true,
          default: 120,
          describe: 'Seconds a step of a case may take, plus 30 for each megabyte of the model',
        },
        min: {
          type: 'string',
          requiresArg: true,
          describe: 'Exit 0 if at least this many cases (1200, or 95%) pass on each target',
        },
        'allow-unsupported': { type: 'boolean', default: false, describe: 'Unsupported cases do not make it fail' },
        loose: {
          type: 'boolean',
          default: false,
          describe: 'Allow the spread between runtimes that meta.json records',
        },
        rtol: {
          type: 'number',
          requiresArg: true,
          describe: 'Relative tolerance for floats, where meta.json gives none',
        },
        atol: {
          type: 'number',
          requiresArg: true,
          describe: 'Absolute tolerance for floats, where meta.json gives none',
        },
        rounding: { choices: ['double', 'single'], default: 'double', describe: 'TFLite fixed-point rounding' },
        numerics: {
          choices: ['fast', 'strict'],
          default: 'fast',
          describe: 'strict: the same bits on every CPU target',
        },
        strict: STRICT_OPTION,
        plugin: { type: 'string', array: true, nargs: 1, describe: 'A module that exports `records`' },
        shard: SHARD_OPTION,
      }) as never,
  handler: runTests,
};

async function runTests(flags: TestFlags): Promise<void> {
  const targets = parseTargets(flags.target);
  const minimum = parseMinimum(flags.min);
  const { kept, excluded } = withoutExcluded(findCases(flags.dirs, parseFilter(flags.filter)));
  const { part: cases, shard } = takeShard(kept, flags.shard);
  await loadPlugins(flags.plugin);
  const results = await runCases(cases, targets, flags);
  const reports = targets.map((target) => reportTarget(target, cases, results));
  if (flags.json) printJson({ ...(shard ? { shard } : {}), excluded, targets: reports } satisfies TestReport);
  else printReports(reports, excluded.length);
  if (!isGood(reports, minimum, flags.allowUnsupported)) process.exitCode = 1;
}

function withoutExcluded(found: readonly CaseRef[]): {
  readonly kept: readonly CaseRef[];
  readonly excluded: readonly Excluded[];
} {
  const reasonFor = exclusions();
  const reasons = new Map(found.flatMap((c) => [[c, reasonFor(c.dir)] as const]));
  return {
    kept: found.filter((c) => reasons.get(c) === undefined),
    excluded: found.flatMap((c) => {
      const reason = reasons.get(c);
      return reason === undefined ? [] : [{ name: c.name, reason }];
    }),
  };
}

/** By position of the case. */
interface Results {
  readonly verdicts: ReadonlyMap<Target, Map<number, Verdict>>;
  readonly ops: Map<number, readonly string[]>;
}

async function runCases(cases: readonly CaseRef[], targets: readonly Target[], flags: TestFlags): Promise<Results> {
  const verdicts = new Map(targets.map((t) => [t, new Map<number, Verdict>()]));
  const ops: Results['ops'] = new Map();
  const progress = startProgress();
  const counts = { passed: 0, failed: 0, unsupported: 0 };
  let done = 0;
  const total = cases.length * targets.length;
  await runPool(
    cases.map((c, index) => makeTask(c, index, targets, flags.timeout)),
    {
      jobs: Math.max(1, Math.floor(flags.jobs)),
      check: {
        rounding: flags.rounding as 'single' | 'double',
        numerics: flags.numerics as 'fast' | 'strict',
        strict: flags.strict,
        loose: flags.loose,
        tolerance: {
          ...(flags.rtol === undefined ? {} : { rtol: flags.rtol }),
          ...(flags.atol === undefined ? {} : { atol: flags.atol }),
        },
      },
      plugins: flags.plugin ?? [],
      onOps: (index, used) => void ops.set(index, used),
      onResult(index, target, verdict) {
        verdicts.get(target)?.set(index, verdict);
        counts[verdict.status]++;
        done++;
        const what = `${target} ${cases[index]?.name}`;
        if (flags.verbose)
          progress.line(`${verdict.status} ${what}${verdict.reason ? `: ${firstLine(verdict.reason)}` : ''}`);
        progress.update(
          `${done}/${total}, ${counts.passed} passed, ${counts.failed} failed, ${counts.unsupported} unsupported: ${what}`,
        );
        return !(flags.bail && verdict.status === 'failed');
      },
    },
  );
  progress.done();
  return { verdicts, ops };
}

/** Timers count milliseconds in 31 bits, and some time is added yet. */
const LONGEST_TIMEOUT = 2 ** 31 - 1000;

function makeTask(c: CaseRef, index: number, targets: readonly Target[], seconds: number): Task {
  const bytes = statSync(modelIn(c.dir) as string).size;
  const timeoutMs = Math.min(seconds * 1000 + Math.floor(bytes / 1e6) * MS_PER_MEGABYTE, LONGEST_TIMEOUT);
  return { index, dir: c.dir, targets, timeoutMs };
}

/** After --bail only the cases that were run count. */
function reportTarget(target: Target, cases: readonly CaseRef[], { verdicts, ops }: Results): TargetReport {
  const reports = cases.flatMap(({ name }, index): CaseReport[] => {
    const v = verdicts.get(target)?.get(index);
    return v ? [{ name, status: v.status, reason: v.reason, hostOps: v.hostOps, ops: ops.get(index) ?? [] }] : [];
  });
  return countCases(target, reports);
}

function printReports(reports: readonly TargetReport[], excluded: number): void {
  for (const report of reports)
    for (const c of report.cases)
      if (c.status !== 'passed') printLine(`${c.status} ${report.target} ${c.name}: ${firstLine(c.reason)}`);
  const rows = reports.map((r) => [r.target, r.total, r.passed, r.failed, r.unsupported, r.host]);
  printLine(formatTable(['target', 'total', 'passed', 'failed', 'unsupported', 'host'], rows));
  if (excluded > 0) printLine(`${excluded} excluded by a manifest`);
}

interface Minimum {
  readonly count: number;
  readonly percent: boolean;
}

function isGood(reports: readonly TargetReport[], minimum: Minimum | null, allowUnsupported: boolean): boolean {
  return reports.every((r) => {
    if (minimum) return r.passed >= (minimum.percent ? (r.total * minimum.count) / 100 : minimum.count);
    return r.failed === 0 && (allowUnsupported || r.unsupported === 0);
  });
}

function parseMinimum(text: string | undefined): Minimum | null {
  if (text === undefined) return null;
  const m = /^(\d+(?:\.\d+)?)(%?)$/.exec(text);
  if (!m) throw new CompileError('E401', `--min ${text} is not understood`, { hint: 'Write --min 1200 or --min 95%' });
  return { count: Number(m[1]), percent: m[2] === '%' };
}

function parseFilter(text: string | undefined): RegExp | undefined {
  if (text === undefined) return undefined;
  try {
    return new RegExp(text);
  } catch (cause) {
    throw new CompileError('E401', `--filter: ${(cause as Error).message}`);
  }
}
