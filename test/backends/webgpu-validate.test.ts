// Every shader of the visible suites validates without a warning, on Dawn's null device, which runs nothing. A sample of
// the cases; HEDDLE_ALL_SHADERS=1 (npm run shaders) takes all of them, and the real models.

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { planProgram } from '../../src/backends/webgpu/plan.js';
import { findCases } from '../../src/cli/testing/discover.js';
import { compileFor, prepareCase } from '../../src/cli/testing/run-case.js';
import { readCase } from '../../src/cli/testing/test-case.js';
import { CompileError } from '../../src/support/errors.js';
import { nullDevice, shaderMessages, swapped } from './webgpu-device.js';

const ALL = process.env.HEDDLE_ALL_SHADERS === '1';
/** Of so many cases one is in the sample. */
const STRIDE = 25;
const SHARED = fileURLToPath(new URL('../../../shared/', import.meta.url));
const SUITES = ['conformance/onnx/node', 'conformance/tflite/models', ...(ALL ? ['models/onnx'] : [])];

const folders = SUITES.map((s) => `${SHARED}${s}`).filter((f) => existsSync(f));
if (folders.length === 0) process.stderr.write('SKIPPED: shaders of the suites, as ../shared is not there\n');
const checker = await nullDevice();
afterAll(() => checker.destroy());

const check = { rounding: 'double', numerics: 'fast', loose: false, tolerance: {}, strict: false } as const;

describe.each(folders)('shaders of %s', (folder) => {
  it(ALL ? 'validate, all of them' : `validate, those of one case in ${STRIDE}`, async () => {
    const seen = new Set<string>();
    for (const [k, c] of findCases([folder]).entries()) {
      if (!ALL && k % STRIDE !== 0) continue;
      for (const { name, code } of shadersOf(c.dir)) {
        if (seen.has(code)) continue;
        seen.add(code);
        expect(await shaderMessages(checker, code), `${c.dir}: ${name}\n${code}`).toEqual([]);
      }
    }
    process.stderr.write(`${folder}: ${seen.size} shaders\n`);
    expect(seen.size).toBeGreaterThan(0);
  }, 1_800_000);
});

/** None where the case is refused with a reason. */
function shadersOf(dir: string): readonly { readonly name: string; readonly code: string }[] {
  try {
    const { plan } = planProgram(compileFor(prepareCase(readCase(dir, 'double'), check, undefined), 'webgpu'));
    return plan.pipelines.flatMap((p) => [p, ...(p.subgroups ? [{ name: p.name, code: swapped(p) }] : [])]);
  } catch (e) {
    if (e instanceof CompileError) return [];
    throw e;
  }
}
