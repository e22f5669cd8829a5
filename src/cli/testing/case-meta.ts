// A case's optional meta.json: tolerances, which elements are defined, and whether its data sets are successive calls.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CompileError } from '../../support/errors.js';

export interface OutputMeta {
  readonly rtol?: number;
  readonly atol?: number;
  readonly loose_atol?: number;
}

/** `[a, b]`: elements a … b−1 are defined; `valid_by_output_K`: only where the expected output K is true. */
export type Mask = readonly [number, number] | string;

export interface CaseMeta {
  readonly bitExact: boolean;
  readonly stateful: boolean;
  readonly outputs: readonly OutputMeta[];
  readonly mask: Readonly<Record<string, Mask>>;
}

export function readMeta(dir: string): CaseMeta {
  const file = join(dir, 'meta.json');
  const raw = existsSync(file) ? parse(file) : {};
  return {
    bitExact: raw.bit_exact === true,
    stateful: raw.stateful === true,
    outputs: Array.isArray(raw.outputs) ? raw.outputs.map((o: unknown) => (isObject(o) ? (o as OutputMeta) : {})) : [],
    mask: isObject(raw.mask) ? (raw.mask as Record<string, Mask>) : {},
  };
}

const isObject = (x: unknown): x is Readonly<Record<string, unknown>> =>
  typeof x === 'object' && x !== null && !Array.isArray(x);

function parse(file: string): Readonly<Record<string, unknown>> {
  try {
    const raw: unknown = JSON.parse(readFileSync(file, 'utf8'));
    return isObject(raw) ? raw : {};
  } catch (cause) {
    throw new CompileError('E403', `not JSON: ${(cause as Error).message}`, { at: { file } });
  }
}
