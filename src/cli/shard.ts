// `--shard i/n`: part i of n of a list, every n-th element, so that parts take about as long as each other and any machine
// picks the same. `interleave` puts the parts together again, in the order of the whole.

import { CompileError } from '../support/errors.js';

export interface Shard {
  /** From 1. */
  readonly index: number;
  readonly count: number;
  /** Length of the whole list. */
  readonly total: number;
}

export const SHARD_OPTION = {
  type: 'string',
  requiresArg: true,
  describe: 'Only part i of n, as i/n from 1/n: for job arrays; `coverage merge` joins the reports',
} as const;

/** The part and its description; everything where no flag is given. */
export function takeShard<T>(list: readonly T[], flag: string | undefined): { part: readonly T[]; shard?: Shard } {
  if (flag === undefined) return { part: list };
  const [, index, count] = (/^(\d{1,9})\/(\d{1,9})$/.exec(flag) ?? []).map(Number);
  if (!index || !count || index > count)
    throw new CompileError('E401', `--shard ${flag} is not understood`, {
      hint: 'Write --shard 3/16: from 1/16 to 16/16',
    });
  const part = list.filter((_, k) => k % count === index - 1);
  return { part, shard: { index, count, total: list.length } };
}

export interface Part<T> {
  readonly shard: Shard;
  readonly list: readonly T[];
}

/** The whole list; E403 where parts are missing, twice there or of different sweeps. */
export function interleave<T>(parts: readonly Part<T>[]): readonly T[] {
  const { count = 0, total = 0 } = parts[0]?.shard ?? {};
  const byIndex = new Map<number, Part<T>>();
  for (const part of parts) {
    const { shard } = part;
    if (shard.count !== count || shard.total !== total) throw notOne('the reports are not shards of one sweep');
    if (byIndex.has(shard.index)) throw notOne(`shard ${shard.index}/${count} is there twice`);
    byIndex.set(shard.index, part);
  }
  const missing = Array.from({ length: count }, (_, k) => k + 1).filter((k) => !byIndex.has(k));
  if (missing.length > 0) throw notOne(`missing: ${missing.map((k) => `${k}/${count}`).join(', ')}`);
  return Array.from({ length: total }, (_, k) => {
    const list = byIndex.get((k % count) + 1)?.list ?? [];
    const place = Math.floor(k / count);
    if (place >= list.length) throw notOne(`shard ${(k % count) + 1}/${count} is not complete`);
    return list[place] as T;
  });
}

const notOne = (message: string): CompileError => new CompileError('E403', message);
