// Gradients against finite differences: every kind of node between inputs and output, and every scalar derivative.

import { describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { importSource, lowerToProgram } from '../../src/compile.js';
import { derivative } from '../../src/ir/derivative.js';
import type { SourceGraph } from '../../src/frontend/source.js';
import { createBuilder } from '../../src/ir/builder.js';
import { constant, type Expr, op, type ScalarOp } from '../../src/ir/scalar.js';
import { fromNumbers, type Tensor, toNumbers } from '../../src/support/tensor.js';
import { graph, model } from './graph-case.js';
import { i64 } from './node-case.js';

const f64 = (shape: readonly number[], values: readonly number[]): Tensor => fromNumbers('f64', shape, values);

/** The graph with a Gradient of `y` by `xs` behind it. */
function withGradient(main: SourceGraph, xs: readonly string[]): SourceGraph {
  const gradient = {
    op: 'Gradient',
    domain: 'ai.onnx.preview.training',
    version: 1,
    name: 'gradient',
    index: main.nodes.length,
    path: [],
    inputs: xs,
    outputs: xs.map((x) => `d${x}`),
    attrs: new Map([
      ['xs', { kind: 'strings' as const, value: xs }],
      ['y', { kind: 'string' as const, value: 'y' }],
    ]),
  };
  return {
    ...main,
    nodes: [...main.nodes, gradient],
    outputs: [...main.outputs, ...xs.map((x) => ({ name: `d${x}`, type: { kind: 'unknown' as const } }))],
  };
}

function check(main: SourceGraph, inputs: Readonly<Record<string, Tensor>>): void {
  const run = createInterpreter(lowerToProgram(importSource(model(withGradient(main, Object.keys(inputs))))));
  const total = (at: Readonly<Record<string, Tensor>>): number =>
    toNumbers(run.runSync(at).y as Tensor).reduce((s, v) => s + v, 0);
  const out = run.runSync(inputs);
  for (const [name, x] of Object.entries(inputs)) {
    const values = Array.from(toNumbers(x));
    const got = Array.from(toNumbers(out[`d${name}`] as Tensor));
    values.forEach((v, k) => {
      const moved = (by: number): number =>
        total({
          ...inputs,
          [name]: f64(
            x.shape,
            values.map((w, j) => (j === k ? v + by : w)),
          ),
        });
      const wanted = (moved(1e-5) - moved(-1e-5)) / 2e-5;
      expect(Math.abs((got[k] as number) - wanted), `d${name}[${k}]: ${got[k]}, not ${wanted}`).toBeLessThan(
        1e-5 * Math.max(1, Math.abs(wanted)),
      );
    });
  }
}

const X = f64([2, 3], [0.5, -1.25, 2, 0.75, 1.5, -0.3]);
const W = f64([3, 2], [1, -2, 0.5, 0.25, -1, 3]);

describe('Gradient', () => {
  it('goes through products, broadcasts and functions', () => {
    const main = graph(
      [
        ['x', 'f64', [2, 3]],
        ['w', 'f64', [3, 2]],
      ],
      ['y'],
      [
        ['MatMul', ['x', 'w'], ['a']],
        ['Add', ['a', 'bias'], ['b']],
        ['Tanh', ['b'], ['c']],
        ['Mul', ['c', 'a'], ['y']],
      ],
      { bias: f64([2], [0.1, -0.2]) },
    );
    check(main, { x: X, w: W });
  });

  it('goes through moves, joins, gathers and slices', () => {
    const main = graph(
      [['x', 'f64', [2, 3]]],
      ['y'],
      [
        ['Transpose', ['x'], ['t'], { perm: [1, 0] }],
        ['Gather', ['t', 'rows'], ['g']],
        ['Reshape', ['g', 'shape'], ['r']],
        ['Concat', ['r', 'r'], ['c'], { axis: 0 }],
        ['Exp', ['c'], ['y']],
      ],
      { rows: i64([3], 2, 0, 2), shape: i64([2], 2, 3) },
    );
    check(main, { x: X });
  });

  it('goes through softmax and extrema', () => {
    const main = graph(
      [['x', 'f64', [2, 3]]],
      ['y'],
      [
        ['Softmax', ['x'], ['s'], { axis: 1 }],
        ['Mul', ['s', 'x'], ['m']],
        ['ReduceMax', ['m', 'axes'], ['y'], { keepdims: 0 }],
      ],
      { axes: i64([1], 1) },
    );
    check(main, { x: X });
  });

  it('says where it ends', () => {
    const main = graph([['x', 'f64', [2, 3]]], ['y'], [['ReduceProd', ['x', 'axis'], ['y']]], { axis: i64([1], 0) });
    expect(() => importSource(model(withGradient(main, ['x'])))).toThrow(/gradients through/);
  });
});

describe('scalar derivatives', () => {
  const one: readonly ScalarOp[] = [
    'neg',
    'abs',
    'sqrt',
    'rsqrt',
    'exp',
    'exp2',
    'expm1',
    'log',
    'log2',
    'log10',
    'log1p',
  ];
  const trig: readonly ScalarOp[] = [
    'sin',
    'cos',
    'tan',
    'asin',
    'acos',
    'atan',
    'sinh',
    'cosh',
    'tanh',
    'asinh',
    'atanh',
  ];
  const rest: readonly ScalarOp[] = ['erf', 'sigmoid', 'sign', 'floor', 'ceil', 'trunc', 'rint', 'round'];
  const two: readonly ScalarOp[] = ['add', 'sub', 'mul', 'div', 'min', 'max', 'pow'];
  const cases = [...one, ...trig, ...rest].map((f) => [f, 1, 0.6] as const);

  it.each([...cases, ['acosh', 1, 1.7] as const, ...two.map((f) => [f, 2, 0.6] as const)])('%s', (f, arity, at) => {
    const b = createBuilder();
    const zero = constant(0, 'f64');
    const scalar = { dtype: 'f64', shape: [] } as const;
    const body = b.region([scalar, scalar], (params) => {
      const given = params.slice(0, arity);
      const y = b.map(given, (...x) => op(f, ...x));
      return [y, ...given.map((_, k) => b.map(given, (...x) => derivative(op(f, ...x), x[k] as Expr) ?? zero))];
    });
    const outputNames = ['y', 'd0', 'd1'].slice(0, 1 + arity);
    const entry = { name: 'run', inputNames: ['a', 'b'], outputNames, body };
    const run = createInterpreter(lowerToProgram({ name: 'm', entries: [entry], states: [] }));
    const result = (a: number, c: number, name: string): number =>
      toNumbers(run.runSync({ a: f64([], [a]), b: f64([], [c]) })[name] as Tensor)[0] as number;
    for (let k = 0; k < arity; k++) {
      const y = (by: number): number => result(at + (k === 0 ? by : 0), 1.35 + (k === 1 ? by : 0), 'y');
      expect(result(at, 1.35, `d${k}`)).toBeCloseTo((y(1e-6) - y(-1e-6)) / 2e-6, 5);
    }
  });
});
