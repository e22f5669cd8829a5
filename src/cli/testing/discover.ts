// Finds test cases in the layouts of the ONNX backend tests: folders with a model and at least one `test_data_set_N`, and
// models with their outputs beside them (flat-case.ts).

import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, join, relative, resolve, sep } from 'node:path';
import { CompileError } from '../../support/errors.js';
import { modelIn } from '../model-file.js';
import { flatOutputs } from './flat-case.js';

export interface CaseRef {
  /** The folder's or model's name, or its path below the folder that was searched. */
  readonly name: string;
  /** The folder, or the model's file where that is the case. */
  readonly dir: string;
}

export function findCases(dirs: readonly string[], filter?: RegExp): readonly CaseRef[] {
  const found = dirs.flatMap(casesIn);
  const kept = filter ? found.filter((c) => filter.test(c.name)) : found;
  if (kept.length > 0) return kept;
  throw new CompileError('E401', `no test cases in ${dirs.map((d) => `"${d}"`).join(', ')}`, {
    hint: filter
      ? `${found.length} do not match the filter`
      : 'A case is a folder with model.onnx or model.tflite and test_data_set_0/',
  });
}

function casesIn(dir: string): CaseRef[] {
  if (!existsSync(dir) || !statSync(dir).isDirectory()) throw new CompileError('E101', `"${dir}" is not a folder`);
  if (modelIn(dir)) return [{ name: basename(resolve(dir)), dir }];
  const found: CaseRef[] = [];
  const search = (at: string): void => {
    for (const entry of readdirSync(at, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const path = join(at, entry.name);
      const name = relative(dir, path).split(sep).join('/');
      if (flatOutputs(path).length > 0) found.push({ name: name.replace(/\.onnx$/, ''), dir: path });
      if (!entry.isDirectory() && !(entry.isSymbolicLink() && statSync(path).isDirectory())) continue;
      if (modelIn(path)) found.push({ name, dir: path });
      else search(path);
    }
  };
  search(dir);
  return found;
}

/** `test_data_set_0`, `test_data_set_1`, … by number. */
export const dataSets = (dir: string): readonly string[] =>
  readdirSync(dir)
    .filter((name) => /^test_data_set_\d+$/.test(name))
    .sort((a, b) => numberIn(a) - numberIn(b))
    .map((name) => join(dir, name));

const numberIn = (name: string): number => Number(/\d+/.exec(name)?.[0]);

/** `input_0.pb`, `input_1.npy`, …: the files of one kind by position. `variant` is tried first (`output_0.VARIANT.npy`). */
export function numberedFiles(dir: string, kind: 'input' | 'output', variant?: string): readonly string[] {
  const files = new Map<number, string>();
  const names = readdirSync(dir);
  for (const name of names) {
    const [, number] = new RegExp(`^${kind}_(\\d+)\\.(npy|pb)$`).exec(name) ?? [];
    if (number === undefined) continue;
    const special = `${kind}_${number}.${variant}.npy`;
    files.set(Number(number), join(dir, variant && names.includes(special) ? special : name));
  }
  return [...files].sort(([a], [b]) => a - b).map(([, path]) => path);
}
