// Which processor C is scheduled for where it runs on this machine: what the compiler says of -march=native.

import { execFileSync } from 'node:child_process';
import { compilerName } from '../backends/c/compiler-node.js';
import type { Cpu } from '../passes/schedule/cpus.js';

/** The macros a compiler defines for a processor's vectors, best first. */
const SIGNS: readonly (readonly [macro: RegExp, cpu: Cpu])[] = [
  [/__AVX512F__/, 'avx512'],
  [/__AVX2__/, 'avx2'],
  [/__ARM_NEON/, 'neon'],
];

let known: Cpu | undefined;

/** 'generic' where the compiler cannot tell; that there is none is told by whoever calls it to compile. */
export function nativeCpu(): Cpu {
  known ??= SIGNS.find(([macro]) => macro.test(macros()))?.[1] ?? 'generic';
  return known;
}

function macros(): string {
  try {
    return execFileSync(compilerName(), ['-march=native', '-dM', '-E', '-xc', '-'], {
      encoding: 'utf8',
      input: '',
      stdio: ['pipe', 'pipe', 'ignore'],
    });
  } catch {
    return '';
  }
}
