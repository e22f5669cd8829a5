// WebGPU artifacts in headless Chromium: one whose sizes the device evaluates, one with a WebAssembly twin. They give what the
// interpreter gives.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { emitWebGpuArtifact } from '../../src/backends/webgpu/artifact.js';
import { lowerToProgram } from '../../src/compile.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Program } from '../../src/ir/program.js';
import { findChromium, openChromium } from './chromium.js';

const SERVE = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'web', 'serve.mjs');
const chromium = findChromium();

/** The elements above zero, scaled, and products of all pairs of them: as many as the data say. */
const PAIRS = `module "pairs" {
  sym n : 0 .. 900
  entry "run" ("x": %0 f32[900]) {
    %9 = const f32[900] random(3)
    %1, %2 = run %0, %9 : f32[900], i64[] = kernel pick (x: read f32[900], w: read f32[900], y: write f32[900], count: write i64[1]) {
      let mut found = 0
      for i in 0 .. 900 {
        if lt(0, $0[i]) {
          $2[found] = $0[i] * $1[i]
          set found = found + 1
        }
      }
      $3[0] = i64(found)
    } bind n = %2
    %3 = view %1 : f32[n] at [i0]
    %4 = generic %3, %3 : f32[n] reduce add [n] = $0[i0] * $1[r0]
    return "picked": %3, "sums": %4
  }
}`;

const withTwin = lowerToProgram(parseModule(PAIRS), { target: 'webgpu' });
const ARTIFACTS: Readonly<Record<string, Program>> = {
  'a twin': withTwin,
  'sizes that the device evaluates': { ...withTwin, kernels: withTwin.kernels.map(({ twin, ...k }) => k) },
};

const input = Array.from({ length: 900 }, (_, i) => ((i * 7) % 900 < 130 ? 1 + i / 64 : -1));

describe.skipIf(!chromium)('a WebGPU artifact in Chromium', () => {
  it('runs with a twin and with sizes on the device', { timeout: 180_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'heddle-page-'));
    writeFileSync(join(folder, 'index.html'), '<!doctype html><title>artifacts</title>');
    Object.values(ARTIFACTS).forEach((program, k) => {
      mkdirSync(join(folder, String(k)));
      const files = emitWebGpuArtifact(program);
      expect('model.twin.wasm' in files).toBe(k === 0);
      for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, String(k), name), content);
    });
    const server = spawn(process.execPath, [SERVE, '--port', '0', '--folder', folder], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const browser = await openChromium(chromium as string, 'software');
    try {
      const [line] = await once(server.stdout, 'data');
      const page = await browser.newPage();
      await page.goto(String(line).trim());
      const oracle = createInterpreter(lowerToProgram(parseModule(PAIRS), { target: 'interp' }));
      const x = { dtype: 'f32', shape: [900], data: Float32Array.from(input) } as const;
      const want = oracle.runSync({ x });
      for (const [k, title] of Object.keys(ARTIFACTS).entries()) {
        // As text: a test runner would rewrite the import.
        const got = await page.evaluate<Record<string, number[]>>(`(async () => {
          const { load } = await import('/${k}/model.mjs');
          const model = await load();
          const { picked, sums } = await model.run({ x: Float32Array.from(${JSON.stringify(input)}) });
          return { picked: [...picked.data], sums: [...sums.data] };
        })()`);
        for (const [name, values] of Object.entries(got)) {
          const expected = want[name]?.data as Float32Array;
          expect(values.length, `${title}: ${name}`).toBe(expected.length);
          values.forEach((v, i) => {
            const e = expected[i] as number;
            expect(Math.abs(v - e), `${title}: ${name}[${i}]`).toBeLessThanOrEqual(1e-4 + 1e-3 * Math.abs(e));
          });
        }
      }
    } finally {
      await browser.close();
      server.kill();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
