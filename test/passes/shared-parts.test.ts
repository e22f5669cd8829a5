// Expressions whose parts are used several times: every pass looks at each part once. Walked as a tree, a power within a power
// has more nodes than anyone visits in an hour.

import { describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import { lowerToProgram } from '../../src/compile.js';
import { parseModule } from '../../src/ir/parse.js';
import type { Tensor } from '../../src/support/tensor.js';
import { tensor } from '../backends/program-builder.js';

describe.each([
  ['rows', 'reduce add [64] = TERM', '$0[i0, r0]', '16'],
  ['columns', 'reduce add [16] = TERM', '$0[r0, i0]', '64'],
  ['windows', 'reduce add [3, 3] = TERM', '$0[i0 + r0, i1 + r1]', '14, 62'],
  ['a product', 'reduce add [64] = TERM * $0[i1, r0]', '$0[i0, r0]', '16, 16'],
])('parts that are shared in sums of %s', (_, sum, x, shape) => {
  const m = parseModule(`module "shared" {
  entry "run" ("x": %0 f32[16, 64]) {
    %1 = generic %0 : f32[${shape}] ${sum.replace('TERM', `pow(pow(${x}, 1.5), 0.75 * ${x})`)} @ ReduceSum "sum" 0
    return "y": %1
  }
}
`);
  const input = tensor(
    'f32',
    [16, 64],
    Array.from({ length: 1024 }, (_, i) => ((i * 37) % 101) / 100),
  );

  it('are compiled, and give what scalar code gives', async () => {
    const want = createInterpreter(lowerToProgram(m)).runSync({ x: input });
    const session = await instantiateWasm(lowerToProgram(m, { target: 'wasm' }));
    const { y } = await session.run({ x: input });
    const got = y?.data as Float32Array;
    expect(got.length).toBeGreaterThan(0);
    for (const [i, v] of ((want.y as Tensor).data as Float32Array).entries()) expect(got[i]).toBeCloseTo(v, 4);
    for (const cpu of ['generic', 'avx2', 'avx512'] as const) lowerToProgram(m, { target: 'c', cpu });
    lowerToProgram(m, { target: 'webgpu' });
  });
});
