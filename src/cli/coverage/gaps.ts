// What formats for people are made of: a model's operators with their counts, and its gaps with the targets that share one;
// a node that compiles and has a note stands among them.

import { type CoverageStatus, fullName, type ModelCoverage, type NodeCoverage, placeOf, STATUSES } from './report.js';

export interface OperatorRow {
  readonly op: string;
  readonly count: number;
  /** How many nodes of each status, by target. */
  readonly statuses: Readonly<Record<string, Readonly<Partial<Record<CoverageStatus, number>>>>>;
  readonly macs: number;
  readonly weightBytes: number;
  readonly outputBytes: number;
}

/** By operator, in the order of names. */
export function operatorRows(nodes: readonly NodeCoverage[], targets: readonly string[]): readonly OperatorRow[] {
  const groups = new Map<string, NodeCoverage[]>();
  for (const n of nodes) {
    const list = groups.get(fullName(n));
    if (list) list.push(n);
    else groups.set(fullName(n), [n]);
  }
  const sum = (list: readonly NodeCoverage[], of: (n: NodeCoverage) => number): number =>
    list.reduce((total, n) => total + of(n), 0);
  return [...groups]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([op, list]) => ({
      op,
      count: list.length,
      statuses: Object.fromEntries(targets.map((t) => [t, countStatuses(list, t)])),
      macs: sum(list, (n) => n.macs),
      weightBytes: sum(list, (n) => n.weightBytes),
      outputBytes: sum(list, (n) => n.outputBytes),
    }));
}

function countStatuses(nodes: readonly NodeCoverage[], target: string): OperatorRow['statuses'][string] {
  const counts: Partial<Record<CoverageStatus, number>> = {};
  for (const n of nodes) {
    const status = n.targets[target]?.status;
    if (status) counts[status] = (counts[status] ?? 0) + 1;
  }
  return counts;
}

/** `3 compiled, 1 host`; only the word where all agree. */
export function summarise(counts: OperatorRow['statuses'][string]): string {
  const found = STATUSES.filter((s) => counts[s]);
  return found.length === 1 ? (found[0] as string) : found.map((s) => `${counts[s]} ${s}`).join(', ');
}

export interface Gap {
  readonly model: string;
  readonly node: string;
  readonly op: string;
  readonly targets: readonly string[];
  readonly status: CoverageStatus;
  readonly reason: string;
  readonly advice: string;
}

/** One for each node and reason. */
export const gapsOf = (m: ModelCoverage, targets: readonly string[]): readonly Gap[] =>
  m.nodes.flatMap((n) => gapsOfNode(m.file, n, targets));

function gapsOfNode(model: string, n: NodeCoverage, targets: readonly string[]): readonly Gap[] {
  const gaps = new Map<string, Gap>();
  for (const target of targets) {
    const c = n.targets[target];
    const isFine = c?.status === 'compiled' || c?.status === 'composed';
    if (!c || (isFine && !c.note)) continue;
    const { status, advice } = c;
    const reason = isFine ? (c.note ?? '') : c.reason;
    const key = JSON.stringify([status, reason, advice]);
    const known = gaps.get(key);
    gaps.set(key, {
      ...{ model, node: placeOf(n), op: fullName(n), status, reason, advice },
      targets: [...(known?.targets ?? []), target],
    });
  }
  return [...gaps.values()];
}
