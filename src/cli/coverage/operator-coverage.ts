// The whole published operator set of a format, and what the records make of each operator and version on each target.
// With the results of `heddle test --json` also how many of the cases that use a version pass.

import { ONNX_OPERATORS, type PublishedVersion } from '../../frontend/onnx/operator-list.js';
import type { AnyRecord } from '../../frontend/ops/record.js';
import { parseKey } from '../../frontend/record-table.js';
import { ENUMS } from '../../frontend/tflite/generated/schema.js';
import type { Target } from '../targets.js';
import {
  type CoverageStatus,
  type OperatorCoverage,
  type OperatorSet,
  type OperatorVersion,
  percentOf,
} from './report.js';
import { NO_TESTS, type TestResults } from './test-results.js';

export interface SetOptions {
  readonly targets: readonly Target[];
  readonly records: readonly AnyRecord[];
  readonly results?: TestResults;
}

export function coverOperators(set: 'onnx' | 'tflite', options: SetOptions): OperatorSet {
  const operators = set === 'onnx' ? coverOnnx(options) : coverTflite(options);
  const good = (t: Target): number =>
    operators.filter((o) => o.status[t] !== 'unsupported' && o.missing.length === 0).length;
  const percent = Object.fromEntries(options.targets.map((t) => [t, percentOf(good(t), operators.length)]));
  return { set, percent, operators };
}

interface Decoder {
  readonly record: AnyRecord;
  readonly since: number;
}

function coverOnnx(options: SetOptions): readonly OperatorCoverage[] {
  const decoders = new Map<string, Decoder[]>();
  for (const record of options.records)
    for (const key of Object.keys(record.onnx ?? {})) {
      const { domain, name, since } = parseKey(key);
      const id = `${domain}:${name}`;
      decoders.set(
        id,
        [...(decoders.get(id) ?? []), { record, since }].sort((a, b) => a.since - b.since),
      );
    }
  const published = new Set(ONNX_OPERATORS.map((o) => `${o.domain}:${o.name}`));
  const others = [...decoders.keys()].filter((id) => !published.has(id)).sort();
  return [
    ...ONNX_OPERATORS.map((o) => describe(o.domain, o.name, o.versions, decoders, options)),
    ...others.map((id) => {
      const cut = id.lastIndexOf(':');
      const versions = [...new Set(decoders.get(id)?.map((d) => d.since))].map((version) => ({ version, types: {} }));
      return describe(id.slice(0, cut), id.slice(cut + 1), versions, decoders, options);
    }),
  ];
}

function describe(
  domain: string,
  op: string,
  published: readonly PublishedVersion[],
  decoders: ReadonlyMap<string, readonly Decoder[]>,
  options: SetOptions,
): OperatorCoverage {
  const list = decoders.get(`${domain}:${op}`) ?? [];
  const newest = list.at(-1)?.record;
  const versions = published.map(({ version, types }): OperatorVersion => {
    const record = list.filter((d) => d.since <= version).at(-1)?.record;
    const tests = testsOf(`${domain}:${op}@${version}`, options);
    return { version, types, status: statuses(record, options.targets), ...tests };
  });
  return {
    ...facts(domain, op, newest, options),
    versions,
    missing: published.filter((v) => !list.some((d) => d.since <= v.version)).map((v) => v.version),
  };
}

function coverTflite(options: SetOptions): readonly OperatorCoverage[] {
  const byName = new Map<string, AnyRecord>();
  for (const record of options.records) for (const key of Object.keys(record.tflite ?? {})) byName.set(key, record);
  const builtins = (ENUMS.BuiltinOperator as readonly string[]).filter((n) => n && !NOT_OPERATORS.has(n));
  const customs = [...byName.keys()].filter((key) => key.startsWith('custom:')).sort();
  const named = [
    ...builtins.map((key) => ({ key, domain: 'tflite', op: key })),
    ...customs.map((key) => ({ key, domain: 'tflite.custom', op: key.slice('custom:'.length) })),
  ];
  return named.map(({ key, domain, op }) => ({
    ...facts(domain, op, byName.get(key), options),
    versions: [],
    missing: [],
  }));
}

/** Codes of the schema that stand for no operator of their own. */
const NOT_OPERATORS: ReadonlySet<string> = new Set(['CUSTOM', 'DELEGATE', 'PLACEHOLDER_FOR_GREATER_OP_CODES']);

type Facts = Omit<OperatorCoverage, 'versions' | 'missing'>;

const facts = (domain: string, op: string, record: AnyRecord | undefined, options: SetOptions): Facts => ({
  op,
  domain,
  status: statuses(record, options.targets),
  record: record?.name ?? '',
  doc: record?.doc ?? '',
  limits: record?.limits ?? [],
  ...testsOf(`${domain}:${op}`, options),
});

const testsOf = (key: string, { results, targets }: SetOptions): Pick<OperatorCoverage, 'tests'> =>
  results
    ? {
        tests: Object.fromEntries(
          targets.flatMap((t) => (results.get(t)?.has(key) ? [[t, results.get(t)?.get(key) ?? NO_TESTS]] : [])),
        ),
      }
    : {};

const statuses = (record: AnyRecord | undefined, targets: readonly Target[]): Record<string, CoverageStatus> =>
  Object.fromEntries(targets.map((t) => [t, statusOn(record, t)]));

/** C has no host to call. */
const statusOn = (record: AnyRecord | undefined, target: Target): CoverageStatus =>
  record?.lower ? 'compiled' : !record || target === 'c' ? 'unsupported' : 'host';
