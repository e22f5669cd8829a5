// Bench results for people and machines: the rows, geometric means per target and runtime, and what was left out.

import { firstLine, formatCount, formatTable } from '../print.js';
import type { BenchNote, BenchRow } from './bench-model.js';
import { geometricMean } from './measure.js';

export interface Summary {
  readonly suite: string;
  readonly precision: BenchRow['precision'];
  readonly target: string;
  readonly peer: string;
  readonly models: number;
  readonly geometric_mean: number;
  readonly worst: { readonly model: string; readonly ratio: number };
}

/** `suite` is where the project's own comparison took the model from. */
export interface BenchReport {
  readonly rows: readonly SuiteRow[];
  readonly means: readonly Summary[];
  readonly notes: readonly BenchNote[];
}

export type SuiteRow = BenchRow & { readonly suite?: string };

export const reportBench = (rows: readonly SuiteRow[], notes: readonly BenchNote[]): BenchReport => ({
  rows,
  means: summarise(rows),
  notes,
});

type Compared = SuiteRow & { readonly ratio: number };

/** Of all rows of each pair, floats and integers apart. */
export function summarise(rows: readonly SuiteRow[]): readonly Summary[] {
  const pairs = new Map<string, Compared[]>();
  for (const row of rows) {
    if (row.ratio === null) continue;
    const key = [row.suite, row.precision, row.target, row.peer].join(' ');
    pairs.set(key, [...(pairs.get(key) ?? []), row as Compared]);
  }
  return [...pairs.values()].map((group) => {
    const worst = group.reduce((a, b) => (b.ratio < a.ratio ? b : a));
    return {
      suite: worst.suite ?? '',
      precision: worst.precision,
      target: worst.target,
      peer: worst.peer,
      models: group.length,
      geometric_mean: Number(geometricMean(group.map((r) => r.ratio)).toPrecision(3)),
      worst: { model: worst.model, ratio: worst.ratio },
    };
  });
}

export function formatBench({ rows, means, notes }: BenchReport): string {
  const parts = [formatRows(rows)];
  if (means.length > 0) {
    const cells = means.map((m) => [
      m.suite,
      m.precision,
      m.target,
      m.peer,
      m.models,
      m.geometric_mean,
      `${m.worst.ratio} ${m.worst.model}`,
    ]);
    parts.push(formatTable(['suite', 'values', 'target', 'peer', 'models', 'geometric mean', 'worst'], cells));
  }
  if (notes.length > 0) parts.push(notes.map((n) => `${n.model}: no ${n.who}: ${firstLine(n.reason)}`).join('\n'));
  return parts.join('\n\n');
}

const formatRows = (rows: readonly BenchRow[]): string =>
  formatTable(
    [
      'model',
      'target',
      'peer',
      'heddle ms',
      'peer ms',
      'ratio',
      'fresh',
      'differs by',
      'compile ms',
      'code B',
      'weights B',
      'arena B',
      'of live',
    ],
    rows.map((r) => [
      r.model,
      r.target,
      r.peer,
      r.heddle_ms,
      r.peer_ms ?? '',
      r.ratio ?? '',
      r.fresh_ratio ?? '',
      r.difference ?? '',
      Math.round(r.compile_ms),
      ...[r.code_bytes, r.weight_bytes, r.arena_bytes].map(formatCount),
      r.live_bytes > 0 ? (r.arena_bytes / r.live_bytes).toFixed(2) : '',
    ]),
  );
