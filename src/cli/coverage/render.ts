// Coverage as text, for a terminal or as Markdown: a summary by operator, then every node that does not simply compile.

import { firstLine, formatCount, formatMarkdown, formatTable, type Row } from '../print.js';
import { gapsOf, operatorRows, summarise } from './gaps.js';
import {
  type CoverageReport,
  fullName,
  type ModelCoverage,
  type OperatorCoverage,
  type OperatorSet,
  operatorSetOf,
  type TestCount,
} from './report.js';

type Format = 'table' | 'md';

const table = (format: Format, head: readonly string[], rows: readonly Row[]): string =>
  format === 'md' ? formatMarkdown(head, rows) : formatTable(head, rows);

export function formatReport(report: CoverageReport, format: Format): string {
  const parts = (report.models ?? []).map((m) => formatModel(m, report.targets, format));
  const set = operatorSetOf(report);
  if (set) parts.push(formatOperators(set, report.targets, format));
  return parts.join('\n\n');
}

function formatModel(m: ModelCoverage, targets: readonly string[], format: Format): string {
  const percents = targets.map((t) => `${t} ${m.percent[t]} %`).join(', ');
  const parts = [`${format === 'md' ? '## ' : ''}${m.file}: ${m.nodes.length} nodes; ${percents}`];
  const assumed = Object.entries(m.assumed).map(([name, range]) => `${name}=${range}`);
  if (assumed.length > 0) parts.push(`open sizes taken as ${assumed.join(', ')}; choose with --dim`);
  if (m.problems.length > 0) parts.push(m.problems.join('\n'));
  if (m.nodes.length > 0) {
    const rows = operatorRows(m.nodes, targets).map((r) => [
      ...[r.op, r.count, formatCount(r.macs), formatCount(r.weightBytes)],
      ...targets.map((t) => summarise(r.statuses[t] ?? {})),
    ]);
    parts.push(table(format, ['operator', 'count', 'MACs', 'weight bytes', ...targets], rows));
  }
  const gaps = gapsOf(m, targets).map((g) => [g.node, g.op, g.targets.join(', '), g.status, g.reason, g.advice]);
  if (gaps.length > 0) parts.push(table(format, ['node', 'operator', 'targets', 'status', 'reason', 'advice'], gaps));
  return parts.join('\n\n');
}

function formatOperators(set: OperatorSet, targets: readonly string[], format: Format): string {
  const tested = set.operators.some((o) => o.tests);
  const limits = (o: OperatorCoverage): string =>
    format === 'md' ? o.limits.join('; ') : firstLine(o.limits.join('; '), 60);
  const rows = set.operators.map((o) => [
    fullName(o),
    ...targets.map((t) => o.status[t] ?? ''),
    ...(tested ? targets.map((t) => showTests(o.tests?.[t])) : []),
    o.versions.map((v) => v.version).join(', '),
    o.missing.join(', '),
    showTypes(o),
    limits(o),
  ]);
  const tests = tested ? targets.map((t) => `${t} tests`) : [];
  const head = ['operator', ...targets, ...tests, 'versions', 'missing', 'types', 'limits'];
  const percents = targets.map((t) => `${t} ${set.percent[t]} %`).join(', ');
  return `${set.operators.length} operators; ${percents}\n\n${table(format, head, rows)}`;
}

/** `12/13`; nothing where no case uses it. */
export const showTests = (t: TestCount | undefined): string => (t ? `${t.passed}/${t.total}` : '');

/** Of the newest version; each set of types once. */
export function showTypes(o: OperatorCoverage): string {
  const newest = o.versions.at(-1)?.types ?? {};
  return [...new Set(Object.values(newest).map((list) => list.join(' ')))].join('; ');
}
