// Memory of real models: the arena against the largest set of buffers that live at once, which no plan can go below.

import { describe, expect, it } from 'vitest';
import { openModel } from '../../src/cli/model-file.js';
import { gatherInputs } from '../../src/cli/run-inputs.js';
import { sizesSeen } from '../../src/cli/testing/test-case.js';
import { compileModel } from '../../src/compile.js';
import type { Program } from '../../src/ir/program.js';
import { sharedData } from '../shared-data.js';

const MODELS = [
  'models/onnx/ppocr_cls',
  'models/onnx/rfb320',
  'models/onnx/silero_vad',
  'models/onnx/tiny_gpt2_contrib',
  'conformance/tflite/models/mlperf_vww_int8',
  'conformance/tflite/models/mp_hand_recrop_fp32',
  'conformance/tflite/models/person_detect',
].flatMap((path) => sharedData(path) ?? []);

function compile(folder: string): Program {
  const { model } = openModel(folder);
  const wanted = { given: [], folder, dims: {}, shapes: {}, seed: 1, fill: true };
  return compileModel(model, { ...sizesSeen(model, [gatherInputs(model, wanted).tensors]), target: 'wasm' });
}

describe('the arena', () => {
  it.each(MODELS)('of %s is at most 1.1 × what lives at once', (folder) => {
    const { arenaBytes, peak } = compile(folder);
    expect(arenaBytes).toBeGreaterThanOrEqual(peak.bytes);
    expect(arenaBytes).toBeLessThanOrEqual(1.1 * peak.bytes);
  });

  const person = MODELS.find((path) => path.endsWith('person_detect'));
  if (person)
    it('of person_detect has at most 55,296 bytes', () => {
      expect(compile(person).arenaBytes).toBeLessThanOrEqual(55296);
    });
});
