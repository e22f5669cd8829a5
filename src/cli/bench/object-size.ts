// Bytes of machine code of a program in C: the object a compiler makes of it, without its weights, as `size` counts text.

import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { compilerName } from '../../backends/c/compiler-node.js';
import { emitC } from '../../backends/c/emit.js';
import { numericFlags } from '../../backends/c/project.js';
import type { Program } from '../../ir/program.js';

const run = promisify(execFile);

/** Text of the object file, constants of the code included. */
export async function objectTextBytes(program: Program, flags: readonly string[]): Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), 'heddle-size-'));
  try {
    const files = emitC(program, { prefix: 'model', weights: 'file' });
    for (const name of ['model.c', 'model.h']) writeFileSync(join(dir, name), files[name] as string);
    const args = ['-std=c99', ...flags, ...numericFlags(program), '-c', 'model.c', '-o', 'model.o'];
    await run(compilerName(), args, { cwd: dir });
    const { stdout } = await run('size', ['model.o'], { cwd: dir });
    return Number(/\n\s*(\d+)/.exec(stdout)?.[1] ?? Number.NaN);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
