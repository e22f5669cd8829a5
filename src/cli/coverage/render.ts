// Coverage for people: a summary by operator, then every node that does not simply compile.

import { formatProblem } from '../../support/errors.js';
import { firstLine, formatMarkdown, formatTable, type Row } from '../print.js';
import type { Target } from '../targets.js';
import type { CoverageStatus, ModelCoverage, NodeCoverage } from './node-coverage.js';
import type { OperatorCoverage } from './operator-coverage.js';

type Format = 'table' | 'md';

const table = (format: Format, head: readonly string[], rows: readonly Row[]): string =>
  format === 'md' ? formatMarkdown(head, rows) : formatTable(head, rows);

export const formatModels = (models: readonly ModelCoverage[], targets: readonly Target[], format: Format): string =>
  models.map((m) => formatModel(m, targets, format)).join('\n\n');

function formatModel(m: ModelCoverage, targets: readonly Target[], format: Format): string {
  const percents = targets.map((t) => `${t} ${m.percent[t]} %`).join(', ');
  const parts = [`${format === 'md' ? '## ' : ''}${m.file}: ${m.nodes.length} nodes; ${percents}`];
  if (m.problems.length > 0) parts.push(m.problems.map(formatProblem).join('\n'));
  if (m.nodes.length > 0) parts.push(table(format, ['operator', 'count', ...targets], operatorRows(m.nodes, targets)));
  const gaps = m.nodes.flatMap((n) => gapRows(n, targets));
  if (gaps.length > 0) parts.push(table(format, ['node', 'operator', 'targets', 'status', 'reason', 'advice'], gaps));
  return parts.join('\n\n');
}

const ORDER: readonly CoverageStatus[] = ['compiled', 'composed', 'host', 'unsupported'];

/** `3 compiled, 1 host`; only the word where all agree. */
function operatorRows(nodes: readonly NodeCoverage[], targets: readonly Target[]): readonly Row[] {
  const groups = new Map<string, NodeCoverage[]>();
  for (const n of nodes) {
    const key = n.domain === 'ai.onnx' || n.domain === 'tflite' ? n.op : `${n.domain}:${n.op}`;
    groups.set(key, [...(groups.get(key) ?? []), n]);
  }
  return [...groups]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([op, list]) => [op, list.length, ...targets.map((t) => summarise(list.map((n) => n.targets[t]?.status)))]);
}

function summarise(statuses: readonly (CoverageStatus | undefined)[]): string {
  const counts = ORDER.map((s) => [s, statuses.filter((x) => x === s).length] as const).filter(([, n]) => n > 0);
  return counts.length === 1 ? (counts[0]?.[0] ?? '') : counts.map(([s, n]) => `${n} ${s}`).join(', ');
}

/** A row for each reason; targets that share one share the row. */
function gapRows(n: NodeCoverage, targets: readonly Target[]): readonly Row[] {
  const rows = new Map<string, { targets: Target[]; row: readonly string[] }>();
  for (const t of targets) {
    const c = n.targets[t];
    if (!c || c.status === 'compiled' || c.status === 'composed') continue;
    const row = [c.status, c.reason, c.advice];
    const known = rows.get(row.join('\n'));
    if (known) known.targets.push(t);
    else rows.set(row.join('\n'), { targets: [t], row });
  }
  const where = [...n.path, n.node || `operator ${n.index}`].join('/');
  return [...rows.values()].map((r) => [where, n.op, r.targets.join(', '), ...r.row]);
}

export function formatOperators(operators: readonly OperatorCoverage[], percent: number, format: Format): string {
  const rows = operators.map((o) => [
    o.domain === 'ai.onnx' || o.domain === 'tflite' ? o.op : `${o.domain}:${o.op}`,
    o.status,
    o.versions.join(', '),
    o.missing.join(', '),
    format === 'md' ? o.limits.join('; ') : firstLine(o.limits.join('; '), 60),
  ]);
  return `${operators.length} operators, ${percent} % covered\n\n${table(format, ['operator', 'status', 'versions', 'missing', 'limits'], rows)}`;
}
