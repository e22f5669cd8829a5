// Op records from a user's module: `--plugin FILE.mjs`, which exports `records`, made with `op(…)`.

import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { AnyRecord } from '../frontend/ops/record.js';
import { CompileError } from '../support/errors.js';
import { whyNot } from './model-file.js';

export async function loadPlugins(files: readonly string[] = []): Promise<readonly AnyRecord[]> {
  const records = await Promise.all(files.map(loadPlugin));
  return records.flat();
}

async function loadPlugin(file: string): Promise<readonly AnyRecord[]> {
  const bad = (why: string): CompileError => new CompileError('E401', `plugin "${file}" ${why}`);
  let module: Readonly<Record<string, unknown>>;
  try {
    module = (await import(pathToFileURL(resolve(file)).href)) as Readonly<Record<string, unknown>>;
  } catch (cause) {
    throw bad(`cannot be loaded: ${whyNot(cause)}`);
  }
  const { records } = module;
  if (!Array.isArray(records)) throw bad('does not export an array `records`');
  records.forEach((record: unknown, k) => {
    const problem = whatIsWrong(record);
    if (problem) throw bad(`: records[${k}] ${problem}`);
  });
  return records as readonly AnyRecord[];
}

function whatIsWrong(record: unknown): string | undefined {
  if (typeof record !== 'object' || record === null) return 'is not an object';
  const r = record as Partial<AnyRecord>;
  if (typeof r.name !== 'string') return 'has no name';
  if (!Array.isArray(r.inputs)) return 'has no list of inputs';
  if (!r.onnx && !r.tflite) return 'decodes neither ONNX nor TFLite';
  if (!r.lower && !r.reference) return 'has neither `lower` nor `reference`';
  const bad = Object.keys(r.onnx ?? {}).find((key) => !/^([^:]+:)?[^@:]+@\d+$/.test(key));
  return bad === undefined ? undefined : `: "${bad}" is not [domain:]Name@version`;
}
