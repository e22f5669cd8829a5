// A pass or a backend cell that is wrong is caught, and the first node that differs is named: the comparison is the one
// of `heddle verify`. The faults are made here, on purpose, and undone.

import { afterEach, describe, expect, it } from 'vitest';
import { SCALAR_CELLS } from '../../src/backends/wasm/cells.js';
import {
  describeFindings,
  compareRuns,
  type Findings,
  type Runs,
  type Values,
  valueOrder,
} from '../../src/cli/testing/first-difference.js';
import { openSession } from '../../src/cli/targets.js';
import { type CompileOptions, importSource, lowerToProgram, optimizeModule, readModel } from '../../src/compile.js';
import type { SourceModel } from '../../src/frontend/source.js';
import type { Program } from '../../src/ir/program.js';
import { rewriteModule } from '../../src/ir/rewrite.js';
import { type Expr, rewriteExpr } from '../../src/ir/scalar.js';
import type { Module, Value } from '../../src/ir/tensor.js';
import { PIPELINE } from '../../src/passes/pipeline.js';
import type { Pass } from '../../src/passes/pass.js';
import { fromNumbers, type Tensor } from '../../src/support/tensor.js';
import { encodeModel, floats, graph, node, value } from '../frontend/onnx-models.js';

/** x[1,3] → MatMul → Add bias → Floor → Relu. Three columns: no vectors, so scalar cells do the work. */
const MODEL: SourceModel = readModel(
  encodeModel(
    graph(
      [
        node('MatMul', ['x', 'w'], ['m'], { name: 'enc/fc' }),
        node('Add', ['m', 'b'], ['s'], { name: 'enc/bias' }),
        node('Floor', ['s'], ['f'], { name: 'enc/floor' }),
        node('Relu', ['f'], ['y'], { name: 'enc/act' }),
      ],
      {
        input: [value('x', [1, 3])],
        output: [value('y', [1, 3])],
        initializer: [floats('w', [3, 3], [1, 0.5, 2, -1, 3, 0.25, 2, 2, 1]), floats('b', [3], [2.5, 3.25, 4.75])],
      },
    ),
  ),
  { file: 'm.onnx' },
);

const INPUT = fromNumbers('f32', [1, 3], [1, 2, 3]);
const TOLERANCE = { rtol: 1e-4, atol: 1e-6 };

type Build = (m: Module, options: CompileOptions) => { program: Program; target: 'interp' | 'wasm' };

const plain: Build = (m, o) => ({ program: lowerToProgram(m, { ...o, target: 'interp' }), target: 'interp' });
const wasm: Build = (m, o) => ({ program: lowerToProgram(m, { ...o, target: 'wasm' }), target: 'wasm' });

/** The whole pipeline with one pass exchanged, run in the interpreter, so that nothing else differs. */
const withPass =
  (broken: Pass): Build =>
  (m, o) => {
    const passes = PIPELINE.map((p) => (p.name === broken.name ? broken : p));
    return {
      program: lowerToProgram(optimizeModule(m, { ...o, target: 'wasm' }, passes), { target: 'interp' }),
      target: 'interp',
    };
  };

async function run(build: Build, options: CompileOptions): Promise<Values> {
  const { program, target } = build(importSource(MODEL, options), options);
  const session = await openSession(target, program);
  try {
    return new Map(Object.entries((await session.run({ x: INPUT as never })) as Record<string, Tensor>));
  } finally {
    await session.close();
  }
}

const runs = async (build: Build): Promise<Runs> => ({
  whole: await run(build, {}),
  tapped: await run(build, { taps: 'all' }),
});

async function compare(build: Build): Promise<Findings> {
  return compareRuns(await runs(build), await runs(plain), valueOrder(MODEL), TOLERANCE);
}

/** Fusion that forgets to add: `drop` says from which expressions. */
function forgetful(drop: 'anywhere' | 'epilogues'): Pass {
  const fuse = PIPELINE.find((p) => p.name === 'fuse') as Pass;
  const forget = (x: Expr): Expr =>
    rewriteExpr(x, (y) => (y.k === 'op' && y.op === 'add' && y.dtype === 'f32' ? (y.args[0] as Expr) : y));
  return {
    ...fuse,
    run: (m, c) =>
      rewriteModule(fuse.run(m, c), {
        node(n, w): readonly Value[] | undefined {
          if (n.kind !== 'generic') return undefined;
          const post = n.post && forget(n.post);
          const body = drop === 'anywhere' ? forget(n.body) : n.body;
          return w.emit(
            { ...n, body, post },
            n.inputs,
            n.outputs.map((v) => v.type),
            n.origin,
          );
        },
      }),
  };
}

describe('the first node that differs', () => {
  it('nothing differs where nothing is wrong', async () => {
    expect(await compare(wasm)).toMatchObject({ agrees: true, first: null, compared: 4 });
    expect((await compare(withPass(PIPELINE.find((p) => p.name === 'fuse') as Pass))).agrees).toBe(true);
  });

  it('a pass that drops a bias everywhere is caught at the node of the bias', async () => {
    const found = await compare(withPass(forgetful('anywhere')));
    expect(found.agrees).toBe(false);
    expect(found.first).toMatchObject({ op: 'Add', node: 'enc/bias', index: 1, value: 's' });
    expect(describeFindings('wasm', found)).toContain('first difference: Add "enc/bias" (operator 1), value "s"');
  });

  it('a pass that is wrong only where nodes are fused names the output and blames the passes', async () => {
    const found = await compare(withPass(forgetful('epilogues')));
    expect(found.first).toBeNull();
    expect(found.outputs).toMatchObject([{ value: 'y', op: 'Relu', node: 'enc/act' }]);
    expect(describeFindings('wasm', found)).toContain('the passes between are at fault');
  });

  describe('a wrong cell', () => {
    const cells = SCALAR_CELLS.f32 as Record<string, unknown>;
    const right = cells.floor;
    afterEach(() => {
      cells.floor = right;
    });

    it('of one backend is caught at the first node that uses it', async () => {
      cells.floor = cells.ceil;
      const found = await compare(wasm);
      expect(found.agrees).toBe(false);
      expect(found.first).toMatchObject({ op: 'Floor', node: 'enc/floor', value: 'f' });
    });
  });
});
