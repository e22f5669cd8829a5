// Cases in the layout of ONNX's light models: `NAME.onnx` beside `NAME_output_K.pb`, and no data for the inputs, which the
// suite defines: of n elements, the k-th is k / n.

import { existsSync } from 'node:fs';
import type { Value } from '../../frontend/onnx/tensor-proto.js';
import type { SourceValue } from '../../frontend/source.js';
import { CompileError } from '../../support/errors.js';
import { fromNumbers, sizeOf } from '../../support/tensor.js';

/** `NAME_output_0.pb`, `NAME_output_1.pb`, … as far as there are; empty where the model is no such case. */
export function flatOutputs(model: string): readonly string[] {
  const at = (k: number): string => model.replace(/\.onnx$/, `_output_${k}.pb`);
  const found: string[] = [];
  while (model.endsWith('.onnx') && existsSync(at(found.length))) found.push(at(found.length));
  return found;
}

/** The suite's input of this name and shape; sizes that are open are 1. */
export function flatInput({ name, type }: SourceValue): Value {
  if (type?.kind !== 'tensor' || type.dtype !== 'f32' || !type.shape)
    throw new CompileError('E403', `the suite defines inputs of 32-bit floats, and "${name}" is none`);
  const shape = type.shape.map((d) => (typeof d === 'number' ? d : 1));
  const n = sizeOf(shape);
  const values = Array.from({ length: n }, (_, k) => k / n);
  return { kind: 'tensor', tensor: fromNumbers('f32', shape, values) };
}
