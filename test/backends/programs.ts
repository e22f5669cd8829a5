// Programs written by hand, each with calls and what they give: the backends' shared examples. Every one is small enough
// to check by eye. `calls` run in order on one session.

import * as D from '../../src/ir/dim.js';
import type { Stmt } from '../../src/ir/kernel.js';
import type { Program } from '../../src/ir/program.js';
import {
  bitcast,
  cast,
  constant,
  type Expr,
  i32,
  load,
  op,
  rawOp,
  type ScalarOp,
  select,
  variable,
} from '../../src/ir/scalar.js';
import type { DType } from '../../src/support/dtype.js';
import type { Tensor } from '../../src/support/tensor.js';
import { buildProgram, iv, letVar, loop, setVar, store, tensor } from './program-builder.js';

export interface Call {
  readonly entry?: string;
  readonly inputs: Readonly<Record<string, Tensor>>;
  /** Absent: only agreement between targets is asked for. */
  readonly outputs?: Readonly<Record<string, Tensor>>;
}

export interface ProgramCase {
  readonly name: string;
  readonly program: Program;
  readonly calls: readonly Call[];
}

const f32 = (v: number): Expr => constant(v, 'f32');
const i64 = (v: bigint): Expr => constant(v, 'i64');
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const sym = (name: string, lo: number, hi: number): D.Sym => ({ name, lo, hi });

function elementwise(): ProgramCase {
  const n = sym('n', 0, 64);
  const program = buildProgram('scale and clip', (b) => {
    const x = b.input('x', 'f32', [D.symDim(n)]);
    const y = b.output('y', 'f32', [D.symDim(n)]);
    const scaled = op('add', rawOp('mul', load(0, [iv('i')], 'f32'), f32(2)), f32(1));
    b.steps(
      b.kernel(
        'scale',
        [
          [x, 'read'],
          [y, 'write'],
        ],
        [{ ...loop('i', iv('n'), store(1, iv('i'), op('max', scaled, f32(0)))), mode: 'parallel' } as Stmt],
        [n],
      ),
    );
  });
  const call = (...v: number[]): Call => ({
    inputs: { x: tensor('f32', [v.length], v) },
    outputs: {
      y: tensor(
        'f32',
        [v.length],
        v.map((e) => Math.max(2 * e + 1, 0)),
      ),
    },
  });
  return {
    name: 'elementwise with a dynamic length',
    program,
    calls: [call(1, -2, 0.5), call(), call(-1, 7, 8, 9, -0.25)],
  };
}

/** y[4,3] = x[4,8] · w[8,3] */
function contraction(weights: number, name: string): ProgramCase {
  const w = range(8 * weights).map((i) => ((i * 7) % 11) - 5);
  const program = buildProgram(name, (b) => {
    const x = b.input('x', 'f32', [4, 8]);
    const c = b.constant('w', tensor('f32', [8, weights], w));
    const y = b.output('y', 'f32', [4, weights]);
    const product = rawOp(
      'mul',
      load(0, [op('add', op('mul', iv('m'), i32(8)), iv('k'))], 'f32'),
      load(1, [op('add', op('mul', iv('k'), i32(weights)), iv('j'))], 'f32'),
    );
    const acc = variable('acc', 'f32');
    b.steps(
      b.kernel(
        'matmul',
        [
          [x, 'read'],
          [c, 'read'],
          [y, 'write'],
        ],
        [
          loop(
            'm',
            4,
            loop(
              'j',
              weights,
              letVar('acc', f32(0), true),
              loop('k', 8, setVar('acc', op('add', acc, product))),
              store(2, op('add', op('mul', iv('m'), i32(weights)), iv('j')), acc),
            ),
          ),
        ],
      ),
    );
  });
  const x = range(32).map((i) => (i % 5) - 2);
  const y = range(4 * weights).map((i) =>
    range(8).reduce(
      (s, k) => s + (x[Math.floor(i / weights) * 8 + k] as number) * (w[k * weights + (i % weights)] as number),
      0,
    ),
  );
  return {
    name,
    program,
    calls: [{ inputs: { x: tensor('f32', [4, 8], x) }, outputs: { y: tensor('f32', [4, weights], y) } }],
  };
}

/** y[i] = x[i−1] + 10·x[i+1], out of range −1 */
function padding(): ProgramCase {
  const n = sym('n', 1, 16);
  const program = buildProgram('padding', (b) => {
    const x = b.input('x', 'i32', [D.symDim(n)]);
    const y = b.output('y', 'i32', [D.symDim(n)]);
    const at = (index: Expr): Expr =>
      load(0, [index], 'i32', {
        guard: rawOp('and', rawOp('le', i32(0), index), rawOp('lt', index, iv('n'))),
        pad: i32(-1),
      });
    const sum = op('add', at(op('sub', iv('i'), i32(1))), op('mul', i32(10), at(op('add', iv('i'), i32(1)))));
    b.steps(
      b.kernel(
        'neighbours',
        [
          [x, 'read'],
          [y, 'write'],
        ],
        [loop('i', iv('n'), store(1, iv('i'), sum))],
        [n],
      ),
    );
  });
  return {
    name: 'guarded loads at the edges',
    program,
    calls: [
      { inputs: { x: tensor('i32', [3], [1, 2, 3]) }, outputs: { y: tensor('i32', [3], [19, 31, -8]) } },
      { inputs: { x: tensor('i32', [1], [5]) }, outputs: { y: tensor('i32', [1], [-11]) } },
    ],
  };
}

/** A quantised dot product: i8 × i8 summed in i32, scaled in i64, saturated to i8; and the same sum's low byte. */
function quantised(): ProgramCase {
  const program = buildProgram('quantised', (b) => {
    const x = b.input('x', 'i8', [6]);
    const w = b.constant('w', tensor('i8', [6], [1, -2, 127, -128, 5, 6]));
    const y = b.output('y', 'i8', [1]);
    const lowByte = b.output('low', 'u8', [1]);
    const acc = variable('acc', 'i32');
    const product = op('mul', load(0, [iv('i')], 'i32'), load(1, [iv('i')], 'i32'));
    const scaled = cast(
      rawOp('shr_s', rawOp('add', rawOp('mul', cast(acc, 'i64'), i64(1518500250n)), i64(1n << 39n)), i64(40n)),
      'i32',
    );
    b.steps(
      b.kernel(
        'dot',
        [
          [x, 'read'],
          [w, 'read'],
          [y, 'write'],
          [lowByte, 'write'],
        ],
        [
          letVar('acc', i32(0), true),
          loop('i', 6, setVar('acc', op('add', acc, product))),
          store(2, i32(0), op('min', op('max', scaled, i32(-128)), i32(127))),
          store(3, i32(0), acc),
        ],
      ),
    );
  });
  const call = (x: number[], y: number, low: number): Call => ({
    inputs: { x: tensor('i8', [6], x) },
    outputs: { y: tensor('i8', [1], [y]), low: tensor('u8', [1], [low]) },
  });
  return {
    name: 'i8 arithmetic with a fixed-point scale',
    program,
    calls: [
      call([1, 1, 1, 1, 1, 1], 0, 9),
      call([127, -128, 127, -128, 127, -128], 45, 251),
      call([-128, 0, -128, 127, 0, 0], -45, 128),
    ],
  };
}

/** The rows of x are added up one by one: the total is carried in the arena, each step reads one row. */
function scan(): ProgramCase {
  const t = sym('t', 0, 8);
  const step = sym('step', 0, 7);
  const program = buildProgram('running sum', (b) => {
    const x = b.input('x', 'f32', [D.symDim(t), 2]);
    const y = b.output('y', 'f32', [D.symDim(t), 2]);
    const total = b.arena('total', 'f32', 2);
    const offset = D.mul(D.symDim(step), 2);
    const clear = b.kernel('clear', [[total, 'write']], [loop('i', 2, store(0, iv('i'), f32(0)))]);
    const add = b.kernel(
      'add',
      [
        [x, 'read', offset],
        [total, 'readwrite'],
        [y, 'write', offset],
      ],
      [
        loop(
          'i',
          2,
          letVar('s', op('add', load(1, [iv('i')], 'f32'), load(0, [iv('i')], 'f32'))),
          store(1, iv('i'), variable('s', 'f32')),
          store(2, iv('i'), variable('s', 'f32')),
        ),
      ],
    );
    b.steps(clear, { kind: 'loop', sym: step, count: D.symDim(t), body: [add] });
  });
  return {
    name: 'a scan with carried values',
    program,
    calls: [
      {
        inputs: { x: tensor('f32', [3, 2], [1, 2, 3, 4, 5, 6]) },
        outputs: { y: tensor('f32', [3, 2], [1, 2, 4, 6, 9, 12]) },
      },
      { inputs: { x: tensor('f32', [0, 2], []) }, outputs: { y: tensor('f32', [0, 2], []) } },
    ],
  };
}

/** Steps of the Collatz walk from x to 1; then, if that count is odd, its negative. */
function whileAndIf(): ProgramCase {
  const program = buildProgram('collatz', (b) => {
    const x = b.input('x', 'i64', []);
    const y = b.output('steps', 'i32', []);
    const value = b.arena('value', 'i64', 1);
    const flag = b.arena('flag', 'u8', 1);
    const at = i32(0);
    const v = load(0, [at], 'i64');
    const init = b.kernel(
      'init',
      [
        [x, 'read'],
        [value, 'write'],
        [y, 'write'],
      ],
      [store(1, at, v), store(2, at, i32(0))],
    );
    const test = b.kernel(
      'test',
      [
        [value, 'read'],
        [flag, 'write'],
      ],
      [store(1, at, cast(rawOp('lt', i64(1n), v), 'i32'))],
    );
    const odd = rawOp('eq', rawOp('and', v, i64(1n)), i64(1n));
    const next = select(odd, rawOp('add', rawOp('mul', v, i64(3n)), i64(1n)), rawOp('div', v, i64(2n)));
    const body = b.kernel(
      'body',
      [
        [value, 'readwrite'],
        [y, 'readwrite'],
      ],
      [store(0, at, next), store(1, at, op('add', load(1, [at], 'i32'), i32(1)))],
    );
    const parity = b.kernel(
      'parity',
      [
        [y, 'read'],
        [flag, 'write'],
      ],
      [store(1, at, rawOp('and', load(0, [at], 'i32'), i32(1)))],
    );
    const negate = b.kernel('negate', [[y, 'readwrite']], [store(0, at, rawOp('neg', load(0, [at], 'i32')))]);
    b.steps(init, { kind: 'while', test: [test], cond: { buffer: flag.id, offset: 0 }, body: [body] }, parity, {
      kind: 'if',
      cond: { buffer: flag.id, offset: 0 },
      then: [negate],
      else: [],
    });
  });
  const call = (x: bigint, steps: number): Call => ({
    inputs: { x: tensor('i64', [], [x]) },
    outputs: { steps: tensor('i32', [], [steps]) },
  });
  return { name: 'while and if over i64', program, calls: [call(6n, 8), call(1n, 0), call(27n, -111)] };
}

function state(): ProgramCase {
  const program = buildProgram('counter', (b) => {
    const memory = b.state('memory', tensor('f32', [2], [10, 20]));
    b.entry('step');
    const x = b.input('x', 'f32', [2]);
    const y = b.output('y', 'f32', [2]);
    b.steps(
      b.kernel(
        'accumulate',
        [
          [x, 'read'],
          [memory, 'readwrite'],
          [y, 'write'],
        ],
        [
          loop(
            'i',
            2,
            store(1, iv('i'), op('add', load(1, [iv('i')], 'f32'), load(0, [iv('i')], 'f32'))),
            store(2, iv('i'), load(1, [iv('i')], 'f32')),
          ),
        ],
      ),
    );
    b.entry('peek');
    const out = b.output('memory', 'f32', [2]);
    b.steps(
      b.kernel(
        'copy',
        [
          [memory, 'read'],
          [out, 'write'],
        ],
        [loop('i', 2, store(1, iv('i'), load(0, [iv('i')], 'f32')))],
      ),
    );
  });
  const f = (...v: number[]): Tensor => tensor('f32', [2], v);
  return {
    name: 'state that outlives a call, and two entries',
    program,
    calls: [
      { entry: 'step', inputs: { x: f(1, 2) }, outputs: { y: f(11, 22) } },
      { entry: 'step', inputs: { x: f(1, 2) }, outputs: { y: f(12, 24) } },
      { entry: 'peek', inputs: {}, outputs: { memory: f(12, 24) } },
    ],
  };
}

/** The positions of the non-zero elements: a size that the data decides. */
function bind(): ProgramCase {
  const count = sym('count', 0, 5);
  const program = buildProgram('non zero', (b) => {
    const x = b.input('x', 'i32', [5]);
    const y = b.output('y', 'i64', [D.symDim(count)]);
    const n = b.arena('n', 'i64', 1);
    const find = b.kernel(
      'find',
      [
        [x, 'read'],
        [y, 'write'],
        [n, 'write'],
      ],
      [
        letVar('k', i32(0), true),
        loop('i', 5, {
          s: 'if',
          cond: rawOp('eq', load(0, [iv('i')], 'i32'), i32(0)),
          then: [],
          else: [store(1, iv('k'), cast(iv('i'), 'i64')), setVar('k', op('add', iv('k'), i32(1)))],
        }),
        store(2, i32(0), cast(iv('k'), 'i64')),
      ],
    );
    b.steps(find, { kind: 'bind', sym: count, from: { buffer: n.id, offset: 0 } });
  });
  const call = (x: number[], y: number[]): Call => ({
    inputs: { x: tensor('i32', [5], x) },
    outputs: { y: tensor('i64', [y.length], y) },
  });
  return {
    name: 'a size bound by data',
    program,
    calls: [call([0, 3, 0, -1, 2], [1, 3, 4]), call([0, 0, 0, 0, 0], [])],
  };
}

/** 2^20 paths through 20 shared nodes; names that no target likes; a local buffer, while, break and an atomic. */
function awkward(): ProgramCase {
  const program = buildProgram('model/v1.0', (b) => {
    const x = b.input('while:0', 'f32', [4]);
    const y = b.output('while/0', 'f32', [4]);
    const z = b.output('int', 'i32', [1]);
    let e: Expr = load(0, [iv('for')], 'f32');
    for (let i = 0; i < 20; i++) e = rawOp('mul', rawOp('add', e, e), f32(0.5));
    b.steps(
      b.kernel(
        'double',
        [
          [x, 'read'],
          [y, 'write'],
          [z, 'write'],
        ],
        [
          { s: 'alloc', buf: 3, dtype: 'f32', size: 4, space: 'register' },
          loop('for', 4, store(3, iv('for'), e)),
          store(2, i32(0), i32(0)),
          letVar('%i.0', i32(0), true),
          {
            s: 'while',
            cond: rawOp('lt', iv('%i.0'), i32(1000)),
            body: [
              { s: 'if', cond: rawOp('le', i32(4), iv('%i.0')), then: [{ s: 'break' }], else: [] },
              store(1, iv('%i.0'), load(3, [iv('%i.0')], 'f32')),
              { s: 'atomic', op: 'add', buf: 2, index: rawOp('sub', iv('%i.0'), iv('%i.0')), value: i32(2) },
              setVar('%i.0', op('add', iv('%i.0'), i32(1))),
            ],
          },
        ],
      ),
    );
  });
  const v = [1, -2, 0.5, 3];
  return {
    name: 'awkward names, shared nodes, local storage, break, atomic',
    program,
    calls: [
      {
        inputs: { 'while:0': tensor('f32', [4], v) },
        outputs: { 'while/0': tensor('f32', [4], v), int: tensor('i32', [1], [8]) },
      },
    ],
  };
}

/** Sizes computed in a kernel: floor((n+2)/3), n mod 4, max(n, 5)·2 − 1, floor((n − 7)/2). */
function sizes(): ProgramCase {
  const n = sym('n', 1, 40);
  const d = D.symDim(n);
  const dims = [D.ceildiv(d, 3), D.mod(d, 4), D.sub(D.mul(D.max(d, 5), 2), 1), D.floordiv(D.sub(d, 7), 2)];
  const program = buildProgram('sizes', (b) => {
    const x = b.input('x', 'u8', [d]);
    const y = b.output('y', 'i32', [4]);
    const none = b.output('tail', 'f32', [D.max(D.sub(d, 20), 0), 3]);
    b.steps(
      b.kernel(
        'sizes',
        [
          [x, 'read'],
          [y, 'write'],
          [none, 'write'],
        ],
        [
          ...dims.map((dim, i) => store(1, i32(i), { k: 'dim', dim, dtype: 'i32', lanes: 1 } as Expr)),
          loop(
            'i',
            { k: 'dim', dim: D.mul(D.max(D.sub(d, 20), 0), 3), dtype: 'i32', lanes: 1 },
            store(2, iv('i'), cast(load(0, [iv('i')], 'i32'), 'f32')),
          ),
        ],
        [n],
      ),
    );
  });
  const call = (k: number): Call => ({
    inputs: { x: tensor('u8', [k], range(k)) },
    outputs: {
      y: tensor('i32', [4], [Math.ceil(k / 3), k % 4, Math.max(k, 5) * 2 - 1, Math.floor((k - 7) / 2)]),
      tail: tensor('f32', [Math.max(k - 20, 0), 3], range(Math.max(k - 20, 0) * 3)),
    },
  });
  return { name: 'size arithmetic and an output without elements', program, calls: [call(2), call(9), call(22)] };
}

export const FLOAT_EDGES = [
  0,
  -0,
  0.5,
  -0.5,
  1,
  -1,
  1.5,
  -1.5,
  2.5,
  -2.5,
  0.49999997,
  3.7,
  -3.7,
  1e-40,
  -1e-40,
  8388607.5,
  -8388607.5,
  8388609,
  2147483520,
  2147483648,
  -2147483648,
  -2147483904,
  4294967040,
  4294967296,
  9.2e18,
  -9.3e18,
  1.8e19,
  1.9e19,
  3e38,
  -3e38,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  Number.NaN,
];
const INT_EDGES = [
  0n,
  1n,
  -1n,
  2n,
  -7n,
  31n,
  63n,
  64n,
  255n,
  65537n,
  -65536n,
  2147483647n,
  -2147483648n,
  4294967295n,
  1234567890123n,
  -9007199254740993n,
  9007199791611905n,
  (1n << 63n) - 1n,
  -(1n << 63n) + 1n,
  (1n << 64n) - 2n,
];

type Number_ = 'i32' | 'u32' | 'i64' | 'u64' | 'f32' | 'f64';
const isFloat = (t: string): boolean => t.startsWith('f');

function edges(t: Number_): Tensor {
  if (isFloat(t)) return tensor(t, [FLOAT_EDGES.length], FLOAT_EDGES);
  const values = INT_EDGES.map((v) => BigInt[t.startsWith('u') ? 'asUintN' : 'asIntN'](Number(t.slice(1)), v));
  return tensor(
    t,
    [values.length],
    values.map((v) => (t.endsWith('64') ? v : Number(v))),
  );
}

/** A NaN has many bit patterns; one stands for all. */
const canonical = (e: Expr): Expr =>
  isFloat(e.dtype) ? select(rawOp('eq', e, e), e, constant(Number.NaN, e.dtype)) : e;

/** Every operation on every pair of edge values: one output per operation, indexed pairwise. */
export function operations(type: Number_): ProgramCase {
  const ints: ScalarOp[] = ['and', 'or', 'xor', 'shl', 'shr_s', 'shr_u', 'mulhi_u', 'mulhi_s'];
  const binary: ScalarOp[] = [
    'add',
    'sub',
    'mul',
    'div',
    'min',
    'max',
    'eq',
    'lt',
    'le',
    ...(isFloat(type) ? [] : ['rem' as const, ...ints]),
  ];
  const unary: ScalarOp[] = isFloat(type)
    ? ['neg', 'abs', 'floor', 'ceil', 'trunc', 'rint', 'sqrt']
    : ['neg', 'abs', 'clz', 'popcnt'];
  const values = edges(type);
  const n = values.data.length;
  const program = buildProgram(`operations ${type}`, (b) => {
    const x = b.input('x', type, [n]);
    const y = b.input('y', type, [n]);
    for (const name of [...binary, ...unary]) {
      const two = binary.includes(name);
      const out = b.output(name, ['eq', 'lt', 'le'].includes(name) ? 'i1' : type, two ? [n, n] : [n]);
      const args = [load(0, [iv('i')], type), load(1, [iv('j')], type)];
      const safe = (name === 'div' || name === 'rem') && !isFloat(type);
      const divisor = select(rawOp('le', args[1]!, constant(0, type)), constant(3, type), args[1]!);
      const result = rawOp(name, ...(two ? [args[0]!, safe ? divisor : args[1]!] : [args[0]!]));
      const stored = result.dtype === 'i1' ? cast(result, 'i32') : canonical(result);
      const slots = [
        [x, 'read'],
        [y, 'read'],
        [{ ...out, dtype: out.dtype === 'i1' ? 'u8' : out.dtype }, 'write'],
      ] as const;
      const inner = two
        ? loop('j', n, store(2, op('add', op('mul', iv('i'), i32(n)), iv('j')), stored))
        : store(2, iv('i'), stored);
      b.steps(
        b.kernel(
          name,
          slots.map(([h, a]) => [h, a]),
          [loop('i', n, inner)],
        ),
      );
    }
  });
  return { name: `operations on ${type}`, program, calls: [{ inputs: { x: values, y: values } }] };
}

/** Every cast from a type, and its bitcasts. */
export function casts(from: Number_): ProgramCase {
  const all: Number_[] = ['i32', 'u32', 'i64', 'u64', 'f32', 'f64'];
  const values = edges(from);
  const n = values.data.length;
  const program = buildProgram(`casts ${from}`, (b) => {
    const x = b.input('x', from, [n]);
    const v = load(0, [iv('i')], from);
    const put = (name: string, to: DType, e: Expr): void => {
      const out = b.output(name, to, [n]);
      b.steps(
        b.kernel(
          name,
          [
            [x, 'read'],
            [out, 'write'],
          ],
          [loop('i', n, store(1, iv('i'), e))],
        ),
      );
    };
    for (const to of all) put(`to ${to}`, to, canonical(cast(v, to)));
    put('to i1', 'u8', cast(cast(v, 'i1'), 'i32'));
    put('via i1', 'i64', cast(cast(v, 'i1'), 'i64'));
    for (const to of all) {
      if (to.slice(1) === from.slice(1)) put(`bits ${to}`, to, canonical(bitcast(canonical(v), to)));
    }
  });
  return { name: `casts from ${from}`, program, calls: [{ inputs: { x: values } }] };
}

export const PROGRAMS: readonly ProgramCase[] = [
  elementwise(),
  contraction(3, 'reduction with inline weights'),
  contraction(2500, 'reduction with a weight file'),
  padding(),
  quantised(),
  scan(),
  whileAndIf(),
  state(),
  bind(),
  awkward(),
  sizes(),
  ...(['i32', 'u32', 'i64', 'u64', 'f32', 'f64'] as const).flatMap((t) => [operations(t), casts(t)]),
];
