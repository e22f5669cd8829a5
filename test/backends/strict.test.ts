// Strict numerics: the same bits on the interpreter (node by node), in C at -O0 and -O3, and in WebAssembly, for every
// model of the test data on its own inputs.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildC, type CSession } from '../../src/backends/c/load-node.js';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { findCases } from '../../src/cli/testing/discover.js';
import { bindInputs, compileFor, type PreparedCase, prepareCase } from '../../src/cli/testing/run-case.js';
import { readCase } from '../../src/cli/testing/test-case.js';
import type { ProgramEntry } from '../../src/ir/program.js';
import type { RuntimeTensor, Session } from '../../src/runtime/session.js';
import { sharedData } from '../shared-data.js';

const ONNX_MODELS = sharedData('models/onnx');
const TFLITE_MODELS = sharedData('conformance/tflite/models');

const STRICT = { rounding: 'double', numerics: 'strict', strict: false, loose: false, tolerance: {} } as const;
const LEVELS = ['-O0', '-O3'] as const;
/** Recorded inputs that a model is run on; of a model with state, one after the other. */
const MAX_SETS = 2;

/** One folder a model: a variant has the same one and other inputs. */
const CASES = [ONNX_MODELS, TFLITE_MODELS]
  .flatMap((dir) => (dir ? findCases([dir]) : []))
  .filter((c) => !c.name.includes('__'));

const prepared = new Map<string, PreparedCase>();
const inC = new Map<string, Map<string, CSession>>();

beforeAll(async () => {
  for (const { name, dir } of CASES) prepared.set(name, prepareCase(readCase(dir, STRICT.rounding), STRICT, undefined));
  const programs = [...prepared].map(([name, c]) => ({ name, program: compileFor(c, 'c') }));
  for (const level of LEVELS) inC.set(level, await buildC(programs, { cflags: [level, '-march=native'] }));
}, 900_000);

afterAll(async () => {
  for (const sessions of inC.values()) for (const s of sessions.values()) await s.close();
});

/** Every element of every output, in hexadecimal. */
async function bitsOf(c: PreparedCase, entry: ProgramEntry, session: Session): Promise<string[]> {
  const seen: string[] = [];
  for (const [k, set] of c.testCase.sets.slice(0, MAX_SETS).entries()) {
    if (k > 0 && !c.testCase.meta.stateful) await session.reset();
    const outputs = await session.run(bindInputs(entry, set));
    seen.push(...Object.entries(outputs).map(([name, t]) => `${name} ${hex(t)}`));
  }
  return seen;
}

function hex({ data }: RuntimeTensor): string {
  if (!ArrayBuffer.isView(data)) return JSON.stringify(data);
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('hex');
}

describe.skipIf(CASES.length === 0)('strict numerics give the same bits on every CPU target', () => {
  for (const { name } of CASES)
    it(name, async () => {
      const c = prepared.get(name) as PreparedCase;
      const program = compileFor(c, 'interp');
      const entry = program.entries[0] as ProgramEntry;
      const expected = await bitsOf(c, entry, createInterpreter(program));
      expect(expected.length).toBeGreaterThan(0);
      const wasm = await instantiateWasm(compileFor(c, 'wasm'));
      expect(await bitsOf(c, entry, wasm), 'wasm').toEqual(expected);
      await wasm.close();
      for (const level of LEVELS)
        expect(await bitsOf(c, entry, inC.get(level)?.get(name) as CSession), `c ${level}`).toEqual(expected);
    }, 300_000);
});
