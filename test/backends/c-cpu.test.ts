// C for named processors: every row of the table compiles cleanly with its own flags, what this machine can run is right, and
// kernels in several versions choose by themselves.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { emitC } from '../../src/backends/c/emit.js';
import { buildC } from '../../src/backends/c/load-node.js';
import { MACHINE_FLAGS } from '../../src/backends/c/machine.js';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { lowerToProgram } from '../../src/compile.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Program } from '../../src/ir/program.js';
import { CPU_NAMES, type Cpu } from '../../src/passes/schedule/cpus.js';
import type { Tensor } from '../../src/support/tensor.js';

const MODULE = parseModule(`module "m" {
  entry "run" ("a": %0 "a" f32[21, 40], "b": %1 "b" f32[40, 77]) {
    %2 "c" = generic %0, %1 : f32[21, 77] reduce add [40] = $0[i0, r0] * $1[r0, i1] then max(acc, 0)
    %3 "d" = generic %2 : f32[21] reduce max [77] = exp($0[i0, r0])
    return "c": %2, "d": %3
  }
}
`);

const compile = (cpu: Cpu): Program => lowerToProgram(MODULE, { target: 'c', cpu });
const wave = (shape: readonly number[], k: number): Tensor => ({
  dtype: 'f32',
  shape,
  data: Float32Array.from({ length: shape.reduce((n, d) => n * d, 1) }, (_, i) => Math.sin(i * k) / 2),
});
const INPUTS = { a: wave([21, 40], 1), b: wave([40, 77], 3) };

let root = '';
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'heddle-cpu-'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const isX86 = process.arch === 'x64' && process.platform === 'linux';
/** What this processor can run, by the macros of -march=native. */
const runs = (flags: readonly string[]): boolean => {
  const macros = execFileSync('gcc', ['-march=native', '-dM', '-E', '-xc', '-'], { encoding: 'utf8', input: '' });
  return flags.every(
    (f) => !f.startsWith('-m') || f === '-march=native' || macros.includes(`__${f.slice(2).toUpperCase()}__`),
  );
};

async function expectRight(cpu: Cpu, cflags: readonly string[]): Promise<void> {
  const session = (await buildC([{ name: 'm', program: compile(cpu) }], { cflags })).get('m');
  const out = (await session?.run(INPUTS)) as Record<string, Tensor>;
  const want = (await createInterpreter(lowerToProgram(MODULE)).run(INPUTS)) as Record<string, Tensor>;
  await session?.close();
  for (const name of ['c', 'd']) {
    const [x, y] = [out[name], want[name]].map((t) => t?.data as Float32Array) as [Float32Array, Float32Array];
    expect(x.length).toBe(y.length);
    for (const [i, v] of x.entries()) expect(Math.abs(v - (y[i] as number))).toBeLessThan(1e-5);
  }
}

function build(files: Record<string, string | Uint8Array>, flags: readonly string[]): string {
  const dir = mkdtempSync(join(root, 'c-'));
  for (const [name, content] of Object.entries(files)) writeFileSync(join(dir, name), content);
  const strict = ['-std=c99', '-pedantic', '-Wall', '-Wextra', '-Wconversion', '-Werror'];
  execFileSync('gcc', [...strict, '-O2', ...flags, '-c', 'm.c', '-o', 'm.o'], { cwd: dir });
  return join(dir, 'm.o');
}

describe('C for a processor', () => {
  const ours = CPU_NAMES.filter((cpu) => cpu !== 'neon' || process.arch === 'arm64');
  it.skipIf(!isX86).each(ours)('%s compiles without a warning, with its flags and as plain C99', (cpu) => {
    const files = emitC(compile(cpu), { prefix: 'm', cpu });
    expect(files.Makefile).toContain(['-O3', ...(MACHINE_FLAGS[cpu] ?? [])].join(' '));
    build(files, MACHINE_FLAGS[cpu] ?? []);
    build(files, ['-DHEDDLE_PLAIN_C']);
  });

  it.skipIf(!isX86).each(ours)('%s gives the results of the interpreter where it can run', async (cpu) => {
    const flags = MACHINE_FLAGS[cpu] ?? [];
    if (!runs(flags)) process.stderr.write(`SKIPPED: this machine cannot run ${cpu}; built for any x86-64 instead\n`);
    await expectRight(cpu, ['-O2', ...(runs(flags) ? flags : [])]);
  });

  it.skipIf(!isX86)('in several versions has one for each level of x86-64', () => {
    const object = build(emitC(compile('avx2'), { prefix: 'm', multiversion: true }), ['-Wno-psabi']);
    const names = execFileSync('nm', [object], { encoding: 'utf8' });
    for (const level of ['x86_64_v3', 'x86_64_v4', 'default']) expect(names).toContain(level);
    expect(emitC(compile('avx2'), { prefix: 'm' })['m.c']).not.toContain('target_clones');
  });
});
