// Constants that columns walk are laid out at compile time, panel by panel: nothing is copied while the program runs, the
// weights take hardly more room, and small maps have vectors of output channels, which maps of any width fill.

import { describe, expect, it } from 'vitest';
import { buildC } from '../../src/backends/c/load-node.js';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { lowerToProgram } from '../../src/compile.js';
import type { Kernel } from '../../src/ir/kernel.js';
import { stmtExprs, visitStmts } from '../../src/ir/kernel-walk.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Program } from '../../src/ir/program.js';
import { visitExpr } from '../../src/ir/scalar.js';
import type { Module } from '../../src/ir/tensor.js';
import { CPU_NAMES, type Cpu } from '../../src/passes/schedule/cpus.js';
import type { Tensor } from '../../src/support/tensor.js';

const product = (m: number, k: number, n: number): Module =>
  parseModule(`module "m" {
  entry "run" ("a": %0 f32[${m}, ${k}]) {
    %3 = const f32[${k}, ${n}] random(3)
    %1 = sin %3 : f32[${k}, ${n}]
    %2 = generic %0, %1 : f32[${m}, ${n}] reduce add [${k}] = $0[i0, r0] * $1[r0, i1]
    return "c": %2
  }
}
`);

const convolution = (channels: number, size: number, filters: number): Module =>
  parseModule(`module "m" {
  entry "run" ("a": %0 f32[1, ${channels}, ${size}, ${size}]) {
    %4 = const f32[${filters}, ${channels}, 3, 3] random(1)
    %1 = sin %4 : f32[${filters}, ${channels}, 3, 3]
    %2 "b" = const f32[${filters}] random(2)
    %3 = generic %0, %1, %2 : f32[1, ${filters}, ${size}, ${size}] reduce add [${channels}, 3, 3] = $0[0, r0, i2 + r1 - 1, i3 + r2 - 1 else 0] * $1[i1, r0, r1, r2] then max(acc + $2[i1], 0)
    return "c": %3
  }
}
`);

const TARGETS = [{ target: 'wasm' } as const, ...CPU_NAMES.map((cpu) => ({ target: 'c', cpu }) as const)];
const NAMED = TARGETS.map((t) => ({ name: 'cpu' in t ? t.cpu : t.target, options: t }));

/** Lanes of the sums of each tile. */
function lanesOf(p: Program): readonly number[] {
  const found: number[] = [];
  for (const k of p.kernels)
    visitStmts(k.body, (s) => {
      if (s.s === 'let' && s.mutable) found.push(s.value.lanes);
    });
  return found;
}

/** Elements of scratch memory that is filled from the weights. */
const panelsOf = (p: Program): number =>
  p.kernels.flatMap((k) => k.params.filter((q) => q.access === 'scratch' && copies(k, k.params.indexOf(q)))).length;

function copies({ body }: Kernel, slot: number): boolean {
  let found = false;
  visitStmts(body, (s) => {
    if (s.s === 'store' && s.buf === slot && s.value.k === 'load') found = true;
  });
  return found;
}

describe('constant columns of many rows', () => {
  it.each(NAMED)('are not copied while the program runs: $name', ({ options }) => {
    expect(panelsOf(lowerToProgram(product(64, 300, 192), options))).toBe(0);
    expect(panelsOf(lowerToProgram(convolution(64, 7, 64), options))).toBe(0);
  });

  it.each(NAMED)('take at most a part in 32 more room, whatever their number: $name', ({ options }) => {
    for (const n of [33, 50, 70, 100, 127, 500]) {
      const { weightBytes } = lowerToProgram(product(48, 300, n), options);
      expect(weightBytes, `${n} columns`).toBeGreaterThanOrEqual(4 * 300 * n);
      expect(weightBytes, `${n} columns`).toBeLessThanOrEqual(4 * 300 * n * (1 + 1 / 32));
    }
  });

  it('are not chosen where each step of a sum would then divide for an address', () => {
    const module = parseModule(`module "m" {
  entry "run" ("a": %0 f32[5, 140]) {
    %3 = const f32[128, 200] random(1)
    %1 = sin %3 : f32[128, 200]
    %2 = generic %0, %1 : f32[128, 97] reduce add [200] = $0[rem(r0, 5), i1 + div(r0, 5)] * $1[i0, r0]
    return "c": %2
  }
}
`);
    for (const { name, options } of NAMED)
      for (const { body } of lowerToProgram(module, options).kernels) {
        const inSums: string[] = [];
        visitStmts(body, (f) => {
          if (f.s !== 'for' || !f.body.some((x) => x.s === 'set')) return;
          for (const x of f.body.flatMap(stmtExprs)) visitExpr(x, (y) => y.k === 'op' && inSums.push(y.op));
        });
        expect(inSums.length, name).toBeGreaterThan(0);
        expect(inSums, name).not.toContain('rem');
      }
  });
});

describe('a map of seven by seven', () => {
  const SMALL = convolution(64, 7, 64);

  it.each(['avx2', 'avx512'] as const)('has whole vectors of channels: %s', (cpu: Cpu) => {
    const lanes = lanesOf(lowerToProgram(SMALL, { target: 'c', cpu }));
    expect(lanes.length).toBeGreaterThan(0);
    expect(new Set(lanes)).toEqual(new Set([cpu === 'avx2' ? 8 : 16]));
  });

  it('gives what the interpreter gives', async () => {
    for (const module of [SMALL, convolution(40, 5, 50), convolution(32, 14, 96), product(20, 300, 50)]) {
      const p = lowerToProgram(module);
      const inputs = { a: wave(p.entries[0]?.inputs[0]?.shape as readonly number[]) };
      const want = createInterpreter(p).runSync(inputs).c?.data as Float32Array;
      const built = await buildC(
        CPU_NAMES.filter((cpu) => cpu !== 'neon').map((cpu) => ({
          name: cpu,
          program: lowerToProgram(module, { target: 'c', cpu }),
        })),
      );
      const wasm = await instantiateWasm(lowerToProgram(module, { target: 'wasm' }));
      for (const session of [...built.values(), wasm]) {
        const got = (await session.run(inputs)).c?.data as Float32Array;
        expect(got.length).toBe(want.length);
        want.forEach((y, k) => {
          if (!(Math.abs((got[k] as number) - y) <= 2e-4)) throw new Error(`[${k}] ${got[k]}, not ${y}`);
        });
        await session.close();
      }
    }
  }, 120_000);
});

const wave = (shape: readonly number[]): Tensor => ({
  dtype: 'f32',
  shape,
  data: Float32Array.from({ length: shape.reduce((n, d) => n * d, 1) }, (_, i) => Math.sin(i) / 2),
});
