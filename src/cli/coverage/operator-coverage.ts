// The whole published operator set of a format, and what the records make of each operator.

import { ONNX_OPERATORS } from '../../frontend/onnx/operator-list.js';
import type { AnyRecord } from '../../frontend/ops/record.js';
import { parseKey } from '../../frontend/record-table.js';
import { ENUMS } from '../../frontend/tflite/generated/schema.js';

export interface OperatorCoverage {
  readonly op: string;
  readonly domain: string;
  readonly status: 'compiled' | 'host' | 'unsupported';
  /** Published versions (ONNX). */
  readonly versions: readonly number[];
  /** Versions that no record decodes. */
  readonly missing: readonly number[];
  readonly record: string;
  readonly limits: readonly string[];
}

export const coverOperators = (
  format: 'onnx' | 'tflite',
  records: readonly AnyRecord[],
): readonly OperatorCoverage[] => (format === 'onnx' ? coverOnnx(records) : coverTflite(records));

function coverOnnx(records: readonly AnyRecord[]): readonly OperatorCoverage[] {
  const decoders = new Map<string, { record: AnyRecord; since: number }[]>();
  for (const record of records)
    for (const key of Object.keys(record.onnx ?? {})) {
      const { domain, name, since } = parseKey(key);
      const id = `${domain}:${name}`;
      decoders.set(id, [...(decoders.get(id) ?? []), { record, since }]);
    }
  const published = new Set(ONNX_OPERATORS.map((o) => `${o.domain}:${o.name}`));
  const others = [...decoders.keys()].filter((id) => !published.has(id)).sort();
  return [
    ...ONNX_OPERATORS.map(({ domain, name, versions }) =>
      describe(domain, name, versions, decoders.get(`${domain}:${name}`) ?? []),
    ),
    ...others.map((id) => {
      const cut = id.lastIndexOf(':');
      const list = decoders.get(id) ?? [];
      return describe(id.slice(0, cut), id.slice(cut + 1), [...new Set(list.map((d) => d.since))], list);
    }),
  ];
}

function describe(
  domain: string,
  op: string,
  versions: readonly number[],
  list: readonly { record: AnyRecord; since: number }[],
): OperatorCoverage {
  const record = list.at(-1)?.record;
  const missing = versions.filter((v) => !list.some((d) => d.since <= v));
  return {
    op,
    domain,
    status: statusOf(record),
    versions,
    missing,
    record: record?.name ?? '',
    limits: record?.limits ?? [],
  };
}

function coverTflite(records: readonly AnyRecord[]): readonly OperatorCoverage[] {
  const byName = new Map<string, AnyRecord>();
  for (const record of records) for (const key of Object.keys(record.tflite ?? {})) byName.set(key, record);
  const builtins = (ENUMS.BuiltinOperator as readonly string[]).filter((n) => n && !NOT_OPERATORS.has(n));
  const customs = [...byName.keys()].filter((key) => key.startsWith('custom:')).sort();
  return [...builtins, ...customs].map((op): OperatorCoverage => {
    const record = byName.get(op);
    return {
      op,
      domain: op.startsWith('custom:') ? 'tflite.custom' : 'tflite',
      status: statusOf(record),
      versions: [],
      missing: [],
      record: record?.name ?? '',
      limits: record?.limits ?? [],
    };
  });
}

/** Codes of the schema that stand for no operator of their own. */
const NOT_OPERATORS: ReadonlySet<string> = new Set(['CUSTOM', 'DELEGATE', 'PLACEHOLDER_FOR_GREATER_OP_CODES']);

const statusOf = (record: AnyRecord | undefined): OperatorCoverage['status'] =>
  !record ? 'unsupported' : record.lower ? 'compiled' : 'host';
