// The script that turns bench results into the tables of docs/performance.md.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const SCRIPT = fileURLToPath(new URL('../../bench/table.mjs', import.meta.url));

let root = '';
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'heddle-table-'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const row = (model: string, heddle: number, peer: number, more: object = {}): object => ({
  model,
  suite: 'ops',
  precision: 'float',
  target: 'wasm',
  peer: 'onnxruntime-web',
  heddle_ms: heddle,
  peer_ms: peer,
  heddle_best_ms: heddle / 2,
  peer_best_ms: peer / 2,
  ratio: peer / heddle,
  numerics: 'fast',
  compile_ms: 12.4,
  code_bytes: 2048,
  weight_bytes: 0,
  arena_bytes: 4096,
  ...more,
});

function print(rows: readonly object[], ...flags: string[]): string[] {
  const file = join(root, 'rows.json');
  writeFileSync(file, JSON.stringify({ rows }));
  return execFileSync(process.execPath, [SCRIPT, ...flags, file], { encoding: 'utf8' }).split('\n');
}

describe('bench/table.mjs', () => {
  it('prints a line for each row and the means of each group', () => {
    const lines = print([
      row('a', 1, 4, { fresh_ratio: 3.2 }),
      row('b', 2, 2),
      row('a', 3, 3, { target: 'c', build: 'plain' }),
    ]);
    expect(lines).toContain('| a | wasm | fast | onnxruntime-web | 1 | 4 | 4 | 3.2 | 2 |  | 4 | 12 |');
    expect(lines).toContain('| a | c (plain) | fast | onnxruntime-web | 3 | 3 | 1 |  | 2 |  | 4 | 12 |');
    expect(lines).toContain('| ops | float | wasm | fast | onnxruntime-web | 2 | 2 | 1 b |');
  });

  it('takes the best batches where asked to', () => {
    expect(print([row('a', 1, 4)], '--best')).toContain(
      '| a | wasm | fast | onnxruntime-web | 0.5 | 2 | 4 |  | 2 |  | 4 | 12 |',
    );
  });

  it('marks a size whose efficiency falls below its neighbours', () => {
    // 2·n³ operations: 1 GFLOP/s at each size but 128, which takes twice as long.
    const sizes = [64, 128, 256].map((n) =>
      row(`gemm_${n}`, 2 * n ** 3 * 1e-6 * (n === 128 ? 2 : 1), 2 * n ** 3 * 1e-6),
    );
    const lines = print(sizes);
    expect(lines).toContain('| gemm, GFLOP/s: heddle wasm | 64 | 128 | 256 |');
    expect(lines).toContain('|  | 1 | 0.5 (cliff) | 1 |');
    expect(lines).toContain('|  | 1 | 1 | 1 |');
  });
});
