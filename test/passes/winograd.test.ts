// Convolutions with fewer products: close to a double-precision reference on targets that have them, and not taken in
// strict numerics.

import { afterAll, describe, expect, it } from 'vitest';
import { buildC } from '../../src/backends/c/load-node.js';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { lowerToProgram } from '../../src/compile.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Session } from '../../src/runtime/session.js';

interface Case {
  readonly channels: number;
  readonly filters: number;
  readonly height: number;
  readonly width: number;
  readonly taps: readonly [number, number];
  readonly pad: number;
}

const CASES: readonly Case[] = [
  { channels: 64, filters: 64, height: 8, width: 56, taps: [3, 3], pad: 1 },
  { channels: 24, filters: 17, height: 6, width: 13, taps: [3, 3], pad: 0 },
  { channels: 96, filters: 32, height: 10, width: 8, taps: [3, 1], pad: 0 },
  { channels: 20, filters: 16, height: 4, width: 11, taps: [3, 5], pad: 2 },
];

/** Of the sum of the terms' sizes. */
const ROUNDING = 2e-7;

const nameOf = (c: Case): string =>
  `${c.filters}x${c.channels}x${c.taps.join('x')} on ${c.height}x${c.width}, padding ${c.pad}`;

function moduleOf({ channels, filters, height, width, taps: [rows, columns], pad }: Case) {
  const [h, w] = [height + 2 * pad - rows + 1, width + 2 * pad - columns + 1];
  return parseModule(`module "m" {
  entry "run" ("x": %0 f32[1, ${channels}, ${height}, ${width}], "w": %1 f32[${filters}, ${channels}, ${rows}, ${columns}]) {
    %2 = generic %0, %1 : f32[1, ${filters}, ${h}, ${w}] reduce add [${channels}, ${rows}, ${columns}] = $0[0, r0, i2 + r1 - ${pad}, i3 + r2 - ${pad}${pad ? ' else 0' : ''}] * $1[i1, r0, r1, r2] @ Conv "conv" 0
    return "y": %2
  }
}
`);
}

/** Seeded, in [-1, 1). */
function numbers(count: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 32) * 2 - 1;
  });
}

function reference(
  { channels, filters, height, width, taps: [rows, columns], pad }: Case,
  x: Float32Array,
  w: Float32Array,
) {
  const [oh, ow] = [height + 2 * pad - rows + 1, width + 2 * pad - columns + 1];
  const out: { readonly sum: number; readonly size: number }[] = [];
  for (let k = 0; k < filters; k++)
    for (let i = 0; i < oh; i++)
      for (let j = 0; j < ow; j++) {
        let [sum, size] = [0, 0];
        for (let c = 0; c < channels; c++)
          for (let a = 0; a < rows; a++)
            for (let b = 0; b < columns; b++) {
              const [y, z] = [i + a - pad, j + b - pad];
              if (y < 0 || z < 0 || y >= height || z >= width) continue;
              const term = x[(c * height + y) * width + z]! * w[((k * channels + c) * rows + a) * columns + b]!;
              sum += term;
              size += Math.abs(term);
            }
        out.push({ sum, size });
      }
  return out;
}

const sessions: Session[] = [];
afterAll(async () => {
  for (const s of sessions) await s.close();
});

describe('winograd', () => {
  for (const c of CASES)
    it(nameOf(c), async () => {
      const [rows, columns] = c.taps;
      const data = numbers(c.channels * c.height * c.width, 1);
      const weights = numbers(c.filters * c.channels * rows * columns, 2);
      const inputs = {
        x: { dtype: 'f32', shape: [1, c.channels, c.height, c.width], data },
        w: { dtype: 'f32', shape: [c.filters, c.channels, rows, columns], data: weights },
      } as const;
      const want = reference(c, data, weights);
      const fast = lowerToProgram(moduleOf(c), { target: 'wasm' });
      const strict = lowerToProgram(moduleOf(c), { target: 'wasm', numerics: 'strict' });
      expect(fast.kernels.length).toBeGreaterThan(strict.kernels.length);
      const small = lowerToProgram(moduleOf(c), { target: 'c', cpu: 'generic' });
      expect(small.kernels.length).toBe(strict.kernels.length);
      const wasm = await instantiateWasm(fast);
      const built = await buildC([{ name: 'm', program: lowerToProgram(moduleOf(c), { target: 'c', cpu: 'sse2' }) }]);
      for (const s of [wasm, built.get('m') as Session]) {
        sessions.push(s);
        const got = (await s.run(inputs)).y!.data as Float32Array;
        expect(got.length).toBe(want.length);
        want.forEach(({ sum, size }, k) => {
          if (!(Math.abs(got[k]! - sum) <= ROUNDING * size)) throw new Error(`[${k}] ${got[k]}, not ${sum}`);
        });
      }
    });
});
