// Runs the built command line as a user would, in a process of its own, and makes the small models and cases it is fed.

import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import { writeNpy } from '../../src/support/npy.js';
import type { Tensor } from '../../src/support/tensor.js';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const MAIN = join(ROOT, 'dist', 'cli', 'main.js');
/** What a plugin imports. */
export const API = join(ROOT, 'dist', 'index.js');

export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export function heddle(...args: readonly string[]): Promise<Outcome> {
  if (!existsSync(MAIN)) throw new Error('these tests run the built program: npm run build');
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args], { maxBuffer: 2 ** 26 }, (error, out, err) => {
      const code = error ? Number(error.code) : 0;
      resolve({ code, out, err });
    });
  });
}

/** A folder that goes away after the tests of the file. */
export function temporaryFolder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'heddle-test-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export function writeFile(path: string, content: Uint8Array | string): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}

export const f32 = (shape: readonly number[], values: readonly number[]): Tensor => ({
  dtype: 'f32',
  shape,
  data: Float32Array.from(values),
});

export interface CaseData {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
}

/** A test case in the ONNX backend-test layout. */
export function writeCase(dir: string, model: Uint8Array, sets: readonly CaseData[], meta?: object): string {
  writeFile(join(dir, 'model.onnx'), model);
  if (meta) writeFile(join(dir, 'meta.json'), JSON.stringify(meta));
  for (const [n, set] of sets.entries()) {
    const save = (kind: string, t: Tensor, k: number): void =>
      void writeFile(join(dir, `test_data_set_${n}`, `${kind}_${k}.npy`), writeNpy(t));
    for (const [k, t] of set.inputs.entries()) save('input', t, k);
    for (const [k, t] of set.outputs.entries()) save('output', t, k);
  }
  return dir;
}
