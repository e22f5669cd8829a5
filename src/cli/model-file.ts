// Finds and reads model files. A folder stands for the model in it. External data of an ONNX model is only ever
// read from below the model's own folder, links included.

import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname, join, sep } from 'node:path';
import { readModel } from '../compile.js';
import type { SourceModel } from '../frontend/source.js';
import { CompileError } from '../support/errors.js';

const MODEL_NAMES = ['model.onnx', 'model.tflite'];

export interface OpenedModel {
  readonly file: string;
  readonly bytes: Uint8Array;
  readonly model: SourceModel;
}

/** The file's contents; E101 where it cannot be read. */
export function readBytes(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new CompileError('E101', `"${path}" cannot be read: ${whyNot(cause)}`);
  }
}

/** The model file in a folder, if there is one under its usual name; a model's file itself. */
export const modelIn = (dir: string): string | undefined =>
  [...(/\.(onnx|tflite)$/.test(dir) ? [dir] : []), ...MODEL_NAMES.map((name) => join(dir, name))].find(
    (path) => existsSync(path) && statSync(path).isFile(),
  );

/** A model file from a path to it or to the folder it lies in. */
export function findModel(path: string): string {
  if (!existsSync(path)) throw new CompileError('E101', `"${path}" does not exist`);
  if (!statSync(path).isDirectory()) return path;
  const usual = modelIn(path);
  if (usual) return usual;
  const found = readdirSync(path).filter((name) => /\.(onnx|tflite)$/.test(name));
  if (found.length === 1) return join(path, found[0] as string);
  throw new CompileError('E101', `the folder "${path}" holds ${found.length === 0 ? 'no model' : 'several models'}`, {
    hint: 'Name the model file itself',
  });
}

/** A model file, the model a folder stands for, or every model below it; a path that is none of them is given back. */
export function findModels(path: string): readonly string[] {
  if (!existsSync(path) || !statSync(path).isDirectory()) return [path];
  const usual = modelIn(path);
  if (usual) return [usual];
  const found = readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /\.(onnx|tflite)$/.test(name),
  );
  if (found.length === 0) throw new CompileError('E101', `there is no model in the folder "${path}"`);
  return found.sort().map((name) => join(path, name));
}

export function openModel(path: string): OpenedModel {
  const file = findModel(path);
  const bytes = readBytes(file);
  const model = readModel(bytes, { file, external: externalFiles(dirname(file)) });
  return { file, bytes, model };
}

const externalFiles =
  (folder: string) =>
  (location: string): Uint8Array => {
    const path = join(folder, location);
    const real = realpathSync(path);
    if (!real.startsWith(realpathSync(folder) + sep)) throw new Error('it lies outside the model’s folder');
    return readFileSync(real);
  };

export const whyNot = (cause: unknown): string => {
  const code = (cause as { code?: string }).code;
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EISDIR') return 'it is a folder';
  if (code === 'EACCES') return 'permission denied';
  return cause instanceof Error ? cause.message : String(cause);
};
