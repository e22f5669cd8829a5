// Sequences and optionals in test data: the compiler is told what they consist of, and every tensor in them is then an
// input or output of its own, in the compiler's order.

import type { InputStructure } from '../../frontend/input-structure.js';
import type { Value } from '../../frontend/onnx/tensor-proto.js';
import type { SourceModel } from '../../frontend/source.js';
import { CompileError } from '../../support/errors.js';
import { type DataSet, fedInputs } from './test-case.js';

function structureOf(v: Value): InputStructure {
  switch (v.kind) {
    case 'tensor':
      return { kind: 'tensor', shape: v.tensor.shape };
    case 'sequence':
      return { kind: 'sequence', items: v.values.map(structureOf) };
    case 'optional':
      return v.value ? structureOf(v.value) : { kind: 'nothing' };
    case 'map':
      throw new CompileError('E202', 'maps cannot be given as test data');
  }
}

/** What the inputs that are not tensors consist of, as the first data set has them. */
export function structuresSeen(model: SourceModel, sets: readonly DataSet[]): Record<string, InputStructure> {
  const seen: Record<string, InputStructure> = {};
  fedInputs(model).forEach((v, k) => {
    const value = sets[0]?.inputs[k];
    if (v.type.kind !== 'tensor' && value) seen[v.name] = structureOf(value);
  });
  return seen;
}

function tensorsIn(v: Value): readonly Value[] {
  if (v.kind === 'sequence') return v.values.flatMap(tensorsIn);
  if (v.kind === 'optional') return v.value ? tensorsIn(v.value) : [];
  return [v];
}

/** The set with every value taken apart into tensors. */
export const flatSet = (set: DataSet): DataSet => ({
  ...set,
  inputs: set.inputs.flatMap(tensorsIn),
  expected: set.expected.flatMap(tensorsIn),
});
