// One case read from disk: its model, its data sets, and what the data say about the model's open sizes.
// Inputs go by position, in the order of the graph's inputs; those an initializer fills or that are state do not count.

import type { Value } from '../../frontend/onnx/tensor-proto.js';
import type { SourceModel, SourceValue } from '../../frontend/source.js';
import { isFloat } from '../../support/dtype.js';
import { CompileError } from '../../support/errors.js';
import type { Tensor } from '../../support/tensor.js';
import { modelIn, openModel } from '../model-file.js';
import { readValueFile } from '../tensor-file.js';
import { type CaseMeta, readMeta } from './case-meta.js';
import { dataSets, numberedFiles } from './discover.js';
import { flatInput, flatOutputs } from './flat-case.js';

export interface DataSet {
  readonly name: string;
  readonly inputs: readonly Value[];
  readonly expected: readonly Value[];
}

export interface TestCase {
  readonly model: SourceModel;
  readonly meta: CaseMeta;
  readonly sets: readonly DataSet[];
}

export function readCase(dir: string, rounding: 'single' | 'double'): TestCase {
  const file = modelIn(dir);
  if (!file) throw new CompileError('E101', `no model in "${dir}"`);
  const { model } = openModel(file);
  const inputs = fedInputs(model);
  const outputs = model.graphs[0]?.outputs ?? [];
  const flat = flatOutputs(file);
  if (flat.length > 0) {
    const expected = flat.map((path, k) => readValueFile(path, outputs[k]?.type));
    return { model, meta: readMeta(dir), sets: [{ name: '', inputs: inputs.map(flatInput), expected }] };
  }
  const variant = rounding === 'single' ? 'single_rounding' : undefined;
  const sets = dataSets(dir).map((set): DataSet => {
    const read = (files: readonly string[], values: readonly SourceValue[]): Value[] =>
      files.map((path, k) => readValueFile(path, values[k]?.type));
    return {
      name: set.slice(dir.length).replace(/^[\\/]/, ''),
      inputs: read(numberedFiles(set, 'input'), inputs),
      expected: read(numberedFiles(set, 'output', variant), outputs),
    };
  });
  if (sets.length === 0) throw new CompileError('E403', 'there is no test_data_set_0', { at: { file: dir } });
  return { model, meta: readMeta(dir), sets };
}

/** The inputs a caller gives. */
export function fedInputs(model: SourceModel): readonly SourceValue[] {
  const graph = model.graphs[0];
  if (!graph) return [];
  return graph.inputs.filter((v) => !graph.initializers.has(v.name) && !graph.values.get(v.name)?.variable);
}

export interface SeenSizes {
  readonly dims: Record<string, { lo: number; hi: number }>;
  /** Shapes of inputs for which the file gives none. */
  readonly shapes: Record<string, readonly number[]>;
}

/** Inputs that are a single integer or truth value, and the same one in every data set. */
export function scalarsSeen(model: SourceModel, sets: readonly DataSet[]): Record<string, number> {
  const seen: Record<string, number> = {};
  fedInputs(model).forEach((v, k) => {
    const values = sets.map((set) => set.inputs[k]);
    const numbers = values.flatMap((t) =>
      t?.kind === 'tensor' && t.tensor.data.length === 1 && !isFloat(t.tensor.dtype) && t.tensor.dtype !== 'string'
        ? [Number(t.tensor.data[0])]
        : [],
    );
    const [first] = numbers;
    if (first !== undefined && numbers.length === sets.length && numbers.every((n) => n === first))
      seen[v.label ?? v.name] = first;
  });
  return seen;
}

/** Bounds for every open size: from 1, or the smallest seen, to the largest seen. */
export function sizesSeen(model: SourceModel, sets: readonly (readonly (Tensor | undefined)[])[]): SeenSizes {
  const dims: SeenSizes['dims'] = {};
  const shapes: SeenSizes['shapes'] = {};
  fedInputs(model).forEach((v, k) => {
    if (v.type.kind !== 'tensor') return;
    for (const set of sets) {
      const seen = set[k]?.shape;
      if (!seen) continue;
      if (!v.type.shape) shapes[v.name] ??= seen;
      const declared = v.type.shape ?? seen.map(() => null);
      declared.forEach((d, axis) => {
        if (typeof d === 'number') return;
        const name = d ?? `${v.label ?? v.name}_${axis}`;
        const n = seen[axis] ?? 1;
        const old = dims[name] ?? { lo: 1, hi: n };
        dims[name] = { lo: Math.min(old.lo, n), hi: Math.max(old.hi, n) };
      });
    }
  });
  return { dims, shapes };
}
