// Inputs for `run` and `verify`: from files, from a folder's own data set, or random with a seed.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { DimOption } from '../frontend/import.js';
import type { SourceModel, SourceValue } from '../frontend/source.js';
import { DTYPE_INFO, type DType } from '../support/dtype.js';
import { CompileError } from '../support/errors.js';
import { fromNumbers, sizeOf, type Tensor } from '../support/tensor.js';
import { showType } from './describe-model.js';
import { readTensorFile } from './tensor-file.js';
import { numberedFiles } from './testing/discover.js';
import { fedInputs } from './testing/test-case.js';

export interface GivenInputs {
  /** In the order of the model's inputs. */
  readonly tensors: readonly Tensor[];
  readonly names: readonly string[];
}

export interface InputRequest {
  /** `name=FILE`, `name=random`, or `random` for all that are left. */
  readonly given: readonly string[];
  /** Folder whose test_data_set_0 is used where nothing is given. */
  readonly folder: string;
  readonly dims: Readonly<Record<string, DimOption>>;
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  readonly seed: number;
  /** Make up what is not given, rather than ask for it. */
  readonly fill: boolean;
}

/** Every input of the model, or E401/E402 that lists them. */
export function gatherInputs(model: SourceModel, request: InputRequest): GivenInputs {
  const values = fedInputs(model);
  const names = values.map((v) => v.label ?? v.name);
  const files = request.given.length === 0 ? dataSetFiles(request.folder) : [];
  const choices = parseGiven(request.given, names);
  const sizes = new Map<string, number>();
  const random = createRandom(request.seed);
  const read = new Map<number, Tensor>();
  values.forEach((v, k) => {
    const file = choices.get(names[k] ?? '') ?? files[k];
    if (file === undefined || file === 'random') return;
    const t = readTensorFile(file, v.type);
    read.set(k, t);
    noteSizes(v, t.shape, sizes);
  });
  const tensors = values.map((v, k) => {
    const known = read.get(k);
    if (known) return known;
    if (!request.fill && choices.get(names[k] ?? '') !== 'random') throw missing(names[k] ?? '', values);
    return randomTensor(v, request, sizes, random);
  });
  return { tensors, names };
}

const dataSetFiles = (folder: string): readonly string[] => {
  const set = join(folder, 'test_data_set_0');
  return existsSync(set) ? numberedFiles(set, 'input') : [];
};

const listInputs = (values: readonly SourceValue[]): string =>
  `Inputs: ${values.map((v) => `${v.label ?? v.name}: ${showType(v.type, v.label ?? v.name)}`).join(', ') || 'none'}`;

const missing = (name: string, values: readonly SourceValue[]): CompileError =>
  new CompileError('E402', `input "${name}" is not given`, {
    hint: `Give it with --input ${name}=FILE.npy or --input random. ${listInputs(values)}`,
  });

function parseGiven(given: readonly string[], names: readonly string[]): Map<string, string> {
  const choices = new Map<string, string>();
  for (const text of given) {
    if (text === 'random') {
      for (const name of names) if (!choices.has(name)) choices.set(name, 'random');
      continue;
    }
    const name = names.find((n) => text.startsWith(`${n}=`));
    if (name === undefined)
      throw new CompileError('E401', `--input ${text} names no input`, {
        hint: `Write --input name=FILE.npy, name=FILE.pb or name=random. Inputs: ${names.join(', ')}`,
      });
    choices.set(name, text.slice(name.length + 1));
  }
  return choices;
}

const symbolName = (v: SourceValue, d: string | null, axis: number): string => d ?? `${v.label ?? v.name}_${axis}`;

function noteSizes(v: SourceValue, shape: readonly number[], sizes: Map<string, number>): void {
  if (v.type.kind !== 'tensor') return;
  v.type.shape?.forEach((d, axis) => {
    const n = shape[axis];
    if (typeof d !== 'number' && n !== undefined) sizes.set(symbolName(v, d, axis), n);
  });
}

/** Open sizes: as other inputs have them, else as --dim says (its upper bound), else 1. */
function randomTensor(v: SourceValue, request: InputRequest, sizes: Map<string, number>, random: () => number): Tensor {
  if (v.type.kind !== 'tensor') throw new CompileError('E402', `input "${v.name}" is a ${v.type.kind}, not a tensor`);
  const declared = v.type.shape ?? request.shapes[v.name];
  if (!declared)
    throw new CompileError('E402', `input "${v.name}" has no shape in the file`, { hint: 'Give one with --shape' });
  const shape = declared.map((d, axis) => {
    if (typeof d === 'number') return d;
    const name = symbolName(v, d, axis);
    const option = request.dims[name] ?? 1;
    const n = sizes.get(name) ?? (typeof option === 'number' ? option : Math.min(option.hi, 2 ** 20));
    sizes.set(name, n);
    return n;
  });
  return fillRandom(v.type.dtype, shape, random);
}

/** Floats in ±1, integers small enough to be indices, unsigned bytes over their range. */
function fillRandom(dtype: DType, shape: readonly number[], random: () => number): Tensor {
  if (dtype === 'string') throw new CompileError('E402', 'strings cannot be made up');
  const { kind, bits } = DTYPE_INFO[dtype];
  const draw = (): number => {
    if (kind === 'float') return random() * 2 - 1;
    if (kind === 'bool') return random() < 0.5 ? 0 : 1;
    if (bits > 8) return Math.floor(random() * 2);
    return Math.floor(random() * 2 ** bits) - (kind === 'int' ? 2 ** (bits - 1) : 0);
  };
  return fromNumbers(dtype, shape, Array.from({ length: sizeOf(shape) }, draw));
}

/** A small generator with a seed (Mulberry32), so that a run can be repeated. */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
