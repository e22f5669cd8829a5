// The files of an artifact by target, and how they get onto disk: all of them or none.

import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { Program } from '../ir/program.js';
import { CompileError } from '../support/errors.js';
import { whyNot } from './model-file.js';
import type { ArtifactTarget } from './targets.js';

export type Files = Readonly<Record<string, string | Uint8Array>>;

export interface ArtifactOptions {
  readonly name: string;
  readonly weights: 'inline' | 'file' | undefined;
  /** WebAssembly: whether there is a second module with relaxed SIMD. */
  readonly relaxed?: 'auto' | 'off' | 'only';
  /** C: whom the project is built for, and whether its kernels are compiled for several processors. */
  readonly cpu?: string;
  readonly multiversion?: boolean;
  /** C: operators only a host can run become calls of a function the user defines. */
  readonly extern?: boolean;
  /** C: also a main.c that runs .npy files. */
  readonly main: boolean;
}

export async function emitArtifact(target: ArtifactTarget, program: Program, options: ArtifactOptions): Promise<Files> {
  const weights = options.weights ? { weights: options.weights } : {};
  switch (target) {
    case 'c': {
      const { emitC } = await import('../backends/c/emit.js');
      return emitC(program, {
        prefix: options.name,
        main: options.main,
        extern: options.extern ?? false,
        multiversion: options.multiversion ?? false,
        ...(options.cpu ? { cpu: options.cpu } : {}),
        ...weights,
      });
    }
    case 'wasm': {
      const { emitWasmArtifact } = await import('../backends/wasm/artifact.js');
      return emitWasmArtifact(
        { ...program, name: options.name },
        {
          ...weights,
          relaxed: options.relaxed,
        },
      );
    }
    case 'webgpu': {
      const { emitWebGpuArtifact } = await import('../backends/webgpu/artifact.js');
      return emitWebGpuArtifact({ ...program, name: options.name });
    }
  }
}

/** Writes beside the folder first; only complete files ever appear in it. E401 where the folder cannot be written. */
export function writeFiles(folder: string, files: Files): void {
  const out = resolve(folder);
  let temporary: string | undefined;
  try {
    mkdirSync(dirname(out), { recursive: true });
    temporary = mkdtempSync(join(dirname(out), `.${basename(out)}-`));
    for (const [name, content] of Object.entries(files)) writeFileSync(join(temporary, name), content);
    if (existsSync(out)) for (const name of readdirSync(temporary)) move(join(temporary, name), join(out, name));
    else publish(temporary, out);
  } catch (cause) {
    throw new CompileError('E401', `"${folder}" cannot be written: ${whyNot(cause)}`);
  } finally {
    if (temporary) rmSync(temporary, { recursive: true, force: true });
  }
}

/** The temporary folder is private to its owner; the one that replaces it is like any other. */
function publish(temporary: string, out: string): void {
  mkdirSync(out);
  for (const name of readdirSync(temporary)) renameSync(join(temporary, name), join(out, name));
}

function move(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EXDEV') throw cause;
    copyFileSync(from, to);
  }
}
