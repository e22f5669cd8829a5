// `--target interp,c --target wasm` and `--target interp c wasm` → a list without repeats.

import { CompileError } from '../../support/errors.js';
import { TARGETS, type Target } from '../targets.js';

export function parseTargets<T extends Target = Target>(
  given: readonly string[],
  known: readonly T[] = TARGETS as readonly string[] as readonly T[],
): readonly T[] {
  const names = [...new Set(given.flatMap((text) => text.split(',')).filter(Boolean))];
  const unknown = names.find((name) => !(known as readonly string[]).includes(name));
  if (unknown === undefined && names.length > 0) return names as T[];
  const message = unknown === undefined ? '--target names no target' : `there is no target "${unknown}"`;
  throw new CompileError('E401', message, { hint: `Targets: ${known.join(', ')}` });
}

/** Joins target names that follow `--target` one by one, so that paths may come right after them. */
export function joinTargets(args: readonly string[]): readonly string[] {
  const isTarget = (text: string): boolean =>
    text.split(',').every((name) => (TARGETS as readonly string[]).includes(name));
  const out: string[] = [];
  for (const arg of args) {
    const last = out.at(-1);
    if (out.at(-2) === '--target' && last !== undefined && isTarget(last) && isTarget(arg))
      out[out.length - 1] = `${last},${arg}`;
    else out.push(arg);
  }
  return out;
}
