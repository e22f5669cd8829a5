// Random graphs of concats, slices, reshapes, transposes, states and what computes between them, each value read by any
// number of others: whatever lives in the memory of something else, the results are those of the interpreter, which keeps
// node by node. All numbers are small integers, so every sum is exact. A failing seed says which graph it was.

import { describe, expect, it } from 'vitest';
import { openSession, type Target } from '../../src/cli/targets.js';
import { type CompileOptions, lowerToProgram } from '../../src/compile.js';
import { parseModule } from '../../src/ir/parse.js';
import type { RuntimeTensor } from '../../src/runtime/session.js';
import type { DType } from '../../src/support/dtype.js';
import { fromNumbers } from '../../src/support/tensor.js';

interface Drawn {
  readonly id: number;
  readonly shape: readonly number[];
}

interface Graph {
  readonly text: string;
  readonly dtype: DType;
  readonly inputs: readonly Drawn[];
}

/** Numbers from 0 up to 1. */
function createRandom(seed: number): () => number {
  let s = (seed * 2654435761 + 1) >>> 0 || 1;
  return () => {
    s ^= s << 13;
    s = (s ^ (s >>> 17)) >>> 0;
    s = (s ^ (s << 5)) >>> 0;
    return s / 2 ** 32;
  };
}

const CLAMP: Partial<Record<DType, (x: string) => string>> = {
  f32: (x) => `max(min(${x}, 40), -40)`,
  i32: (x) => `and(${x}, 1023)`,
  i8: (x) => `i8(and(i32(${x}), 15))`,
};

const NODES = 14;
const LARGEST = 20_000;

function draw(seed: number): Graph {
  const random = createRandom(seed);
  for (let k = 0; k < 8; k++) random();
  const int = (lo: number, hi: number): number => lo + Math.floor(random() * (hi - lo + 1));
  const pick = <T>(list: readonly T[]): T => list[int(0, list.length - 1)] as T;
  const dtype = pick(['f32', 'i32', 'i8'] as const);
  const clamp = CLAMP[dtype] as (x: string) => string;
  const type = (s: readonly number[]): string => `${dtype}[${s.join(', ')}]`;
  const draws = (): number[] => [pick([1, 1, 2, 3]), pick([1, 2, 4, 5]), pick([1, 3, 8, 16, 20, 33])];
  const values: Drawn[] = [0, 1].map((id) => ({ id, shape: draws() }));
  const inputs = [...values];
  const state = draws();
  const lines: string[] = [];
  const made: Drawn[] = [];
  const add = (shape: readonly number[], node: string): Drawn => {
    const v = { id: values.length, shape };
    lines.push(`%${v.id} = ${node}`);
    values.push(v);
    made.push(v);
    return v;
  };
  const alike = (shape: readonly number[], but = -1): readonly Drawn[] =>
    values.filter((v) => v.shape.every((d, k) => k === but || d === shape[k]));

  const nodes: readonly ((a: Drawn) => void)[] = [
    ({ id, shape }) => {
      const turned = int(0, 3);
      const at = shape.map((d, k) => (k === turned ? `${d - 1} - i${k}` : `i${k}`)).join(', ');
      const body = clamp(`$0[i0, i1, i2] * ${int(2, 3)} - $1[${at}]`);
      add(shape, `generic %${id}, %${pick(alike(shape)).id} : ${type(shape)} = ${body}`);
    },
    ({ id, shape: [x = 1, y = 1, z = 1] }) => {
      const shape = [x, y, pick([3, 8, 16, 20])];
      const body = `$0[i0, i1, r0] * ${dtype}(and(r0 + i2, 3)) then ${clamp('acc')}`;
      add(shape, `generic %${id} : ${type(shape)} reduce add [${z}] = ${body}`);
    },
    ({ id, shape }) => {
      const rows = [...shape.slice(0, 2), 1];
      const most = add(rows, `generic %${id} : ${type(rows)} reduce max [${shape[2]}] = $0[i0, i1, r0]`);
      const body = clamp('$0[i0, i1, i2] - $1[i0, i1, 0]');
      add(shape, `generic %${id}, %${most.id} : ${type(shape)} = ${body}`);
    },
    ({ id, shape }) => {
      const whole = int(0, 3); // axes from here on are not cut
      const part = shape.map((d, k) => (k > whole ? d : int(1, d)));
      const at = shape.map((d, k) => `i${k} + ${int(0, d - (part[k] as number))}`).join(', ');
      add(part, `view %${id} : ${type(part)} at [${at}]`);
    },
    ({ id, shape }) => {
      const order = pick([
        [1, 0, 2],
        [0, 2, 1],
        [2, 1, 0],
      ]);
      const turned = order.map((k) => shape[k] as number);
      add(turned, `view %${id} : ${type(turned)} at [${shape.map((_, k) => `i${order.indexOf(k)}`).join(', ')}]`);
    },
    ({ id, shape: [x = 1, y = 1, z = 1] }) => {
      const shape = pick([
        [1, 1, x * y * z],
        [x * y, 1, z],
        [y, x, z],
        [1, x, y * z],
      ]);
      add(shape, `reshape %${id} : ${type(shape)}`);
    },
    (a) => {
      const axis = int(0, 2);
      const parts = [a, ...Array.from({ length: int(1, 4) }, () => pick(alike(a.shape, axis)))];
      if (random() < 0.5) parts.reverse();
      const shape = a.shape.map((d, k) => (k === axis ? parts.reduce((n, p) => n + (p.shape[k] as number), 0) : d));
      if (shape.reduce((p, d) => p * d, 1) > LARGEST) return;
      add(shape, `concat ${parts.map((p) => `%${p.id}`).join(', ')} : ${type(shape)} axis ${axis}`);
    },
    () => {
      add(state, `state_read "s" : ${type(state)}`);
    },
    () => {
      const like = alike(state);
      if (like.length > 0) lines.push(`state_write "s" %${pick(like).id}`);
    },
  ];
  const weights = [0, 0, 0, 1, 1, 2, 3, 3, 3, 4, 5, 6, 6, 6, 6, 7, 8];
  for (let k = 0; k < NODES; k++) (nodes[pick(weights)] as (typeof nodes)[0])(pick(values.slice(-6)));
  const text = lines.join('\n');
  const results = made.filter((v) => random() < 0.15 || !new RegExp(`%${v.id}\\b(?! =)`).test(text));
  const params = inputs.map((v, k) => `"x${k}": %${v.id} ${type(v.shape)}`).join(', ');
  const given = results.map((v, k) => `"y${k}": %${v.id}`).join(', ');
  return {
    text: `module "m" {\nstate "s" : ${type(state)} = ${type(state)} splat(3)\nentry "run" (${params}) {\n${text}\nreturn ${given}\n}\n}\n`,
    dtype,
    inputs,
  };
}

async function run({ text, dtype, inputs }: Graph, target: Target, options: CompileOptions): Promise<unknown[]> {
  const program = lowerToProgram(parseModule(text), { target, cpu: 'sse2', numerics: 'strict', ...options });
  const session = await openSession(target, program);
  const all: unknown[] = [];
  for (const call of [0, 1, 2]) {
    const given = inputs.map(({ shape }, k) => {
      const numbers = Array.from(
        { length: shape.reduce((p, d) => p * d, 1) },
        (_, i) => ((i * 37 + call * 11 + k) % 23) - 6,
      );
      return [`x${k}`, fromNumbers(dtype, [...shape], numbers) as RuntimeTensor];
    });
    const out = await session.run(Object.fromEntries(given));
    all.push(Object.values(out).map((t) => [...(t.data as Float32Array)]));
  }
  await session.close();
  return all;
}

async function check(seed: number, target: Target, options: CompileOptions = {}): Promise<void> {
  const graph = draw(seed);
  expect(await run(graph, target, options), `seed ${seed}\n${graph.text}`).toEqual(await run(graph, 'interp', {}));
}

const seeds = (from: number, count: number): readonly number[] => Array.from({ length: count }, (_, k) => from + k);

describe('random graphs', () => {
  it('give the same in the interpreter', async () => {
    for (const seed of seeds(0, 60)) await check(seed, 'interp', { optimize: 'full' });
  });
  it('give the same in WebAssembly', async () => {
    for (const seed of seeds(100, 60)) await check(seed, 'wasm');
  });
  it('give the same in C', async () => {
    for (const seed of seeds(200, 8)) await check(seed, 'c');
  });
});
