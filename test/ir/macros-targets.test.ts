// Every macro gives the same bits in the interpreter, in C (gcc, without contraction) and in WebAssembly: strict numerics
// stands on this. NaNs count as equal whatever their payload.

import { describe, expect, it } from 'vitest';
import { buildC } from '../../src/backends/c/load-node.js';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { instantiateWasm } from '../../src/backends/wasm/load.js';
import type { Program } from '../../src/ir/program.js';
import { cast, type Expr, load, MACROS, type MacroOp, rawOp, variable } from '../../src/ir/scalar.js';
import { bindLets } from '../../src/passes/kernel/bind-lets.js';
import { legalizeKernel } from '../../src/passes/kernel/legalize.js';
import { simplifyKernel } from '../../src/passes/kernel/simplify-index.js';
import type { RuntimeTensor, Session } from '../../src/runtime/session.js';
import type { Tensor } from '../../src/support/tensor.js';
import { buildProgram, loop, tensor } from '../backends/program-builder.js';
import { randomSource } from './macro-accuracy.js';

const i = variable('i', 'i32');
const inf = Number.POSITIVE_INFINITY;

/** Specials, then numbers of every magnitude, then ordinary ones. */
function inputs(count: number, seed: number): number[] {
  const random = randomSource(seed);
  const specials = [
    0,
    -0,
    1,
    -1,
    0.5,
    -0.5,
    2,
    inf,
    -inf,
    Number.NaN,
    1e-45,
    -1e-40,
    1e-310,
    3e38,
    -3e38,
    1e300,
    88.8,
    -104,
  ];
  const wide = Array.from({ length: count }, () => (random() - 0.5) * 10 ** (random() * 80 - 40));
  const plain = Array.from({ length: count }, () => (random() - 0.5) * 20);
  return [...specials.flatMap((x) => specials.map(() => x)), ...wide, ...plain];
}

const NARROW = ['f16', 'bf16', 'f8e4m3fn', 'f8e5m2fnuz', 'f4e2m1'] as const;

function macroProgram(t: 'f32' | 'f64', n: number): Program {
  const ops = (Object.entries(MACROS) as [MacroOp, number][]).filter(([op]) => op !== 'not');
  const program = buildProgram(`macros_${t}`, (b) => {
    const x = b.input('x', t, [n]);
    const y = b.input('y', t, [n]);
    const [vx, vy] = [load(0, [i], t), load(1, [i], t)];
    const emit = (name: string, value: Expr): void => {
      const out = b.output(name, value.dtype, [n]);
      const body = loop('i', n, { s: 'store', buf: 2, index: i, value });
      b.steps(
        b.kernel(
          name,
          [
            [x, 'read'],
            [y, 'read'],
            [out, 'write'],
          ],
          [body],
        ),
      );
    };
    for (const [op, arity] of ops) emit(op, rawOp(op, ...[vx, vy].slice(0, arity)));
    for (const kind of NARROW)
      emit(`through_${kind}`, rawOp('add', cast(rawOp('add', cast(vx, kind), cast(vy, kind)), t), vx));
    for (const int of ['i8', 'u16', 'i32', 'u32', 'i64', 'u64'] as const) emit(`to_${int}`, cast(vx, int));
  });
  return { ...program, kernels: program.kernels.map((k) => bindLets(simplifyKernel(legalizeKernel(k)))) };
}

/** Elements as text, so that −0 and 0 differ and NaNs do not. */
const texts = (x: RuntimeTensor | Tensor): string[] =>
  Array.from(x.data as ArrayLike<number | bigint>, (v) => (Object.is(v, -0) ? '-0' : String(v)));

describe.each(['f32', 'f64'] as const)('%s', (t) => {
  const xs = inputs(700, 1);
  const ys = [...inputs(0, 1), ...inputs(700, 2).slice(-1400)];
  const specials = 18;
  for (let k = 0; k < specials * specials; k++) ys[k] = xs[(k % specials) * specials] as number;
  const n = xs.length;
  const program = macroProgram(t, n);
  const feed = { x: tensor(t, [n], xs), y: tensor(t, [n], ys) };
  const want = createInterpreter(program).runSync(feed);

  async function compare(session: Session): Promise<void> {
    const got = await session.run(feed);
    for (const [name, expected] of Object.entries(want)) {
      const [a, b] = [texts(got[name] as RuntimeTensor), texts(expected)];
      const at = a.findIndex((v, k) => v !== b[k]);
      if (at >= 0) expect(`${name}(${xs[at]}, ${ys[at]}) = ${a[at]}`).toBe(`${name}(${xs[at]}, ${ys[at]}) = ${b[at]}`);
    }
    await session.close();
  }

  it('WebAssembly', async () => compare(await instantiateWasm(program)));

  it('C', async () => {
    const sessions = await buildC([{ name: program.name, program }], { cflags: ['-O1'] });
    await compare(sessions.get(program.name) as Session);
  });
});
