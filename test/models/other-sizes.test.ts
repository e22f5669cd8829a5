// The real ONNX models with other batch sizes and lengths than their data have: compiled once for a range of sizes, each
// target runs several, and agrees with the interpreter on a program made for just those sizes. Inputs are the models' own
// samples, repeated or cut.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { openModel } from '../../src/cli/model-file.js';
import { openSession } from '../../src/cli/targets.js';
import { compareTensors, defaultTolerance } from '../../src/cli/testing/compare.js';
import { fedInputs } from '../../src/cli/testing/test-case.js';
import { readValueFile } from '../../src/cli/tensor-file.js';
import { compileModel, type CompileOptions, type Target } from '../../src/compile.js';
import type { SourceValue } from '../../src/frontend/source.js';
import type { Session } from '../../src/runtime/session.js';
import { fromNumbers, sizeOf, type Tensor, toNumbers } from '../../src/support/tensor.js';
import { sharedData } from '../shared-data.js';

const MODELS = sharedData('models/onnx');

type Sizes = Readonly<Record<string, number>>;

/** For each model the assignments of its open sizes that one compiled program must take. */
const CASES: Readonly<Record<string, readonly [Sizes, Sizes]>> = {
  bert_dummy: [
    { batch: 1, tokens: 5 },
    { batch: 3, tokens: 11 },
  ],
  linear_classifier: [{ input_0: 1 }, { input_0: 7 }],
  nms_yolov8: [
    { detection_1: 84, detection_2: 40 },
    { detection_1: 84, detection_2: 300 },
  ],
  oww_melspectrogram: [
    { batch_size: 1, samples: 1280 },
    { batch_size: 1, samples: 3040 },
  ],
  oww_speech_embedding: [{ unk__314: 1 }, { unk__314: 2 }],
  ppocr_cls: [
    { 'p2o.DynamicDimension.0': 1, 'p2o.DynamicDimension.1': 48, 'p2o.DynamicDimension.2': 192 },
    { 'p2o.DynamicDimension.0': 2, 'p2o.DynamicDimension.1': 48, 'p2o.DynamicDimension.2': 128 },
  ],
  ppocr_rec: [
    { 'p2o.DynamicDimension.0': 1, 'p2o.DynamicDimension.1': 96 },
    { 'p2o.DynamicDimension.0': 2, 'p2o.DynamicDimension.1': 64 },
  ],
  qlstm_scan: [{ input_0: 1 }, { input_0: 9 }],
  silero_vad: [
    { input_0: 1, input_1: 576, state_1: 1 },
    { input_0: 2, input_1: 576, state_1: 2 },
  ],
  silero_vad_half: [
    { batch: 1, sequence: 576 },
    { batch: 2, sequence: 576 },
  ],
  super_resolution_10: [{ batch_size: 1 }, { batch_size: 2 }],
  t5_encoder: [
    { batch: 1, tokens: 3 },
    { batch: 2, tokens: 12 },
  ],
  tiny_gpt2_contrib: [
    { batch_size: 1, seq_len: 4, past_seq_len: 0, total_seq_len: 4 },
    { batch_size: 2, seq_len: 1, past_seq_len: 6, total_seq_len: 7 },
  ],
  xgboost_classifier: [{ input_0: 1 }, { input_0: 5 }],
};

/** The interpreter takes seconds for these, and is the reference already. */
const SLOW = ['super_resolution_10', 'ppocr_rec'];
const targetsFor = (name: string): readonly Target[] => (SLOW.includes(name) ? ['wasm', 'c'] : ['interp', 'wasm', 'c']);

/** The sample's elements, position by position, over and over. */
function resized(sample: Tensor, shape: readonly number[]): Tensor {
  const values = toNumbers(sample);
  const strides = sample.shape.map((_, k) => sizeOf(sample.shape.slice(k + 1)));
  const data = Array.from({ length: sizeOf(shape) }, (_, flat) => {
    let [rest, at] = [flat, 0];
    for (let k = shape.length - 1; k >= 0; k--) {
      const i = rest % (shape[k] as number);
      rest = Math.floor(rest / (shape[k] as number));
      at += (i % Math.max(1, sample.shape[k] as number)) * (strides[k] as number);
    }
    return values[at] ?? 0;
  });
  return fromNumbers(sample.dtype, shape, data);
}

function sizedInputs(dir: string, values: readonly SourceValue[], sizes: Sizes): Record<string, Tensor> {
  return Object.fromEntries(
    values.map((v, k) => {
      const base = join(dir, 'test_data_set_0', `input_${k}`);
      const value = readValueFile(existsSync(`${base}.pb`) ? `${base}.pb` : `${base}.npy`, v.type);
      if (value.kind !== 'tensor' || v.type.kind !== 'tensor') throw new Error('inputs are tensors');
      const declared = v.type.shape ?? value.tensor.shape;
      const shape = declared.map((d, axis) =>
        typeof d === 'number' ? d : (sizes[d ?? `${v.name}_${axis}`] as number),
      );
      return [v.name, resized(value.tensor, shape)];
    }),
  );
}

const ranged = ([a, b]: readonly [Sizes, Sizes]): NonNullable<CompileOptions['dims']> =>
  Object.fromEntries(
    Object.keys(a).map((name) => {
      const [x, y] = [a[name] as number, b[name] as number];
      return [name, x === y ? x : { lo: Math.min(x, y), hi: Math.max(x, y) }];
    }),
  );

const open: Session[] = [];
afterAll(() => Promise.all(open.map((s) => s.close())));

describe.runIf(MODELS)('models with other sizes', () => {
  it.each(Object.entries(CASES))('%s', { timeout: 300_000 }, async (name, sizes) => {
    const dir = join(MODELS as string, name);
    const { model } = openModel(join(dir, 'model.onnx'));
    const values = fedInputs(model);
    const expected = sizes.map((s) => {
      const program = compileModel(model, { dims: s });
      return createInterpreter(program).runSync(sizedInputs(dir, values, s));
    });
    for (const target of targetsFor(name)) {
      const session = await openSession(target, compileModel(model, { dims: ranged(sizes), target }));
      open.push(session);
      for (const [k, s] of sizes.entries()) {
        await session.reset();
        const got = await session.run(sizedInputs(dir, values, s));
        for (const [output, want] of Object.entries(expected[k] ?? {})) {
          const { rtol, atol } = defaultTolerance(want.dtype);
          const tolerance = { rtol, atol: rtol > 0 ? Math.max(atol, 1e-5) : 0 };
          const problem = compareTensors(got[output] as Tensor, want, tolerance);
          expect(problem, `${target} ${JSON.stringify(s)} "${output}"`).toBeNull();
        }
      }
    }
  });
});
