// Strict numerics: the same bits on the interpreter (node by node), in C at -O0 and -O3, and in WebAssembly.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { buildC } from '../../src/backends/c/load-node.js';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { importSource, lowerToProgram, readModel, type Target } from '../../src/compile.js';
import type { Program } from '../../src/ir/program.js';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import type { Session } from '../../src/runtime/session.js';
import type { Tensor } from '../../src/support/tensor.js';
import { sharedData } from '../shared-data.js';

const MODELS_FOLDER = sharedData('models');

const MODELS = [
  'models/onnx/mnist_8/model.onnx',
  'models/onnx/bert_dummy/model.onnx',
  'models/onnx/t5_encoder/model.onnx',
  'models/onnx/qlstm_scan/model.onnx',
  'conformance/tflite/models/mlperf_kws_float32/model.tflite',
  'conformance/tflite/models/mlperf_ad_fp32/model.tflite',
];

const sessions: Session[] = [];
afterAll(async () => {
  for (const s of sessions) await s.close();
});

/** Seeded inputs for a program: small integers for integer types, [-1, 1) for floats; symbols at 3. */
function inputsFor(p: Program, seed: number): Record<string, Tensor> {
  let state = seed;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return Object.fromEntries(
    (p.entries[0]?.inputs ?? []).map((v) => {
      const shape = v.shape.map((d) => (typeof d === 'number' ? d : 3));
      const n = shape.reduce((a, b) => a * b, 1);
      const data =
        v.dtype === 'i64'
          ? BigInt64Array.from({ length: n }, () => BigInt(Math.floor(next() * 2)))
          : Float32Array.from({ length: n }, () => next() * 2 - 1);
      return [v.name, { dtype: v.dtype, shape, data } as Tensor];
    }),
  );
}

const bitsOf = (outputs: Record<string, { readonly data: unknown }>): string[] =>
  Object.entries(outputs).map(([name, t]) => {
    const a = t.data as Float32Array;
    return `${name} ${Buffer.from(a.buffer, a.byteOffset, a.byteLength).toString('hex')}`;
  });

describe.skipIf(MODELS_FOLDER === null)('strict numerics', () => {
  for (const file of MODELS)
    it(`gives the same bits on every CPU target: ${file}`, async () => {
      const source = readModel(new Uint8Array(readFileSync(join(MODELS_FOLDER ?? '', '..', file))), { file });
      const options = { numerics: 'strict', defaultDim: { lo: 1, hi: 8 } } as const;
      const module = importSource(source, options);
      const programFor = (target: Target): Program => lowerToProgram(module, { ...options, target });
      const inputs = inputsFor(programFor('interp'), 7);
      const expected = bitsOf(createInterpreter(programFor('interp')).runSync(inputs));
      const wasm = await instantiateWasm(programFor('wasm'));
      sessions.push(wasm);
      expect(bitsOf(await wasm.run(inputs))).toEqual(expected);
      for (const level of ['-O0', '-O3']) {
        const built = await buildC([{ name: 'm', program: programFor('c') }], { cflags: [level, '-march=native'] });
        const c = built.get('m') as Session;
        sessions.push(c);
        expect(bitsOf(await c.run(inputs))).toEqual(expected);
      }
    }, 120_000);
});
