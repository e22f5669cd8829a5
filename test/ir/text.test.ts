// The text form is exact: what is printed parses back to a module that prints the same and lowers to the same program.
// Every node kind, every statement kind and every form of constant is here; real models do the same in bulk.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { emitC } from '../../src/backends/c/emit.js';
import { importSource, lowerToProgram, optimizeModule, readModel } from '../../src/compile.js';
import { type Builder, createBuilder } from '../../src/ir/builder.js';
import { floordiv, max, min, mod, mul, sub, symDim } from '../../src/ir/dim.js';
import { e } from '../../src/ir/expr.js';
import type { Kernel } from '../../src/ir/kernel.js';
import { parseModule } from '../../src/ir/parse.js';
import { parseKernelText } from '../../src/ir/parse-kernel.js';
import { constantsOf, printModule } from '../../src/ir/print.js';
import { printKernel } from '../../src/ir/print-kernel.js';
import { bitcast, constant, i32, load, select, variable, vec } from '../../src/ir/scalar.js';
import type { Module, TensorType, Value } from '../../src/ir/tensor.js';
import { CompileError } from '../../src/support/errors.js';
import { fromNumbers, tensor } from '../../src/support/tensor.js';
import { sharedData } from '../shared-data.js';

const F = (...shape: TensorType['shape']): TensorType => ({ dtype: 'f32', shape });

function build(inputs: readonly TensorType[], f: (b: Builder, v: readonly Value[]) => readonly Value[]): Module {
  const b = createBuilder();
  b.setOrigin({ op: 'Test', node: 'a "quoted"\nname', index: 3, path: ['fn', 'loop body'] });
  const body = b.region(inputs, (v) => f(b, v));
  const inputNames = inputs.map((_, k) => `x${k}`);
  const outputNames = body.results.map((_, k) => `y${k}`);
  return { name: 'm', states: b.states, entries: [{ name: 'run', inputNames, outputNames, body }] };
}

/** Prints, parses, prints again; the text. */
function roundTrip(m: Module): string {
  const text = printModule(m);
  const back = parseModule(text, { constants: constantsOf(m) });
  expect(printModule(back)).toBe(text);
  return text;
}

const sourceOf = (m: Module): string => {
  const files = emitC(lowerToProgram(m, { target: 'c' }));
  return JSON.stringify(Object.values(files).map((f) => (typeof f === 'string' ? f : [...f])));
};

describe('tensor level', () => {
  it('writes a one-op elementwise generic as its op', () => {
    const text = roundTrip(
      build([F(4, 8), F(8)], (b, [x, y]) => [b.map([x as Value, y as Value], (p, q) => e.add(p, q))]),
    );
    expect(text).toContain('%2 = add %0, %1 : f32[4, 8] @ Test');
  });

  it('writes literals of one-op forms in the type of their neighbours', () => {
    const text = roundTrip(build([F(4)], (b, [x]) => [b.map([x as Value], (p) => e.mul(p, 0.1))]));
    expect(text).toContain('%1 = mul %0, 0.1 : f32[4]');
  });

  it('writes a contraction as its einsum', () => {
    const text = roundTrip(build([F(4, 8), F(8, 5)], (b, [x, y]) => [b.matmul(x as Value, y as Value)]));
    expect(text).toContain('einsum "ac,cb->ab" %0, %1 : f32[4, 5]');
  });

  it('writes everything else in full', () => {
    const text = roundTrip(
      build([F(4, 8)], (b, [x]) => [
        b.generic({
          shape: [4],
          reduce: [8],
          reducer: 'max',
          body: ([i], [r], read) => read(x as Value, [i as never, e.sub(r as never, 1)], { pad: -1 }),
        }),
      ]),
    );
    expect(text).toContain('generic %0 : f32[4] reduce max [8] = $0[i0, r0 - 1 else -1]');
  });

  it('keeps sizes, symbols with their bounds, and odd names', () => {
    const n = symDim({ name: 'num samples', lo: 1, hi: 480000 });
    const k = symDim({ name: 'k', lo: 0, hi: Number.POSITIVE_INFINITY });
    const dims = [floordiv(sub(n, 1), 2), mod(n, 7), min(n, mul(k, 3)), max(sub(k, 5), 2), mul(n, k)];
    const text = roundTrip(build([F(n), F(k)], (b) => [b.dims(dims)]));
    expect(text).toContain('sym "num samples" : 1 .. 480000');
    expect(text).toContain('sym k : 0 .. inf');
    expect(text).toContain(
      'dim [floordiv("num samples" + 1, 2) + -1, mod("num samples", 7), min(3 * k, "num samples")',
    );
  });

  it('keeps constants of every kind', () => {
    const kinds = [
      tensor('f32', [4], Float32Array.of(0.1, -0, Number.NaN, Number.NEGATIVE_INFINITY)),
      tensor('f64', [2], Float64Array.of(0.1, 1e300)),
      tensor('f16', [2], Uint16Array.of(0x3c00, 0xfe01)),
      tensor('i64', [2], BigInt64Array.of(-(2n ** 63n), 5n)),
      tensor('u8', [3], Uint8Array.of(0, 1, 255)),
      tensor('i1', [2], Uint8Array.of(0, 1)),
      tensor('string', [2], ['a', 'b "c"']),
      tensor('f32', [100], new Float32Array(100).fill(2.5)),
      tensor(
        'f32',
        [10, 10],
        Float32Array.from({ length: 100 }, (_, k) => k / 7),
      ),
      tensor('i8', [0], new Int8Array(0)),
    ];
    const m = build([], (b) => kinds.map((t) => b.constant(t)));
    const text = roundTrip(m);
    expect(text).toContain('const f32[4] [0.1, -0, 0x7fc00000, -inf]');
    expect(text).toContain('const f32[100] splat(2.5)');
    expect(text).toMatch(/const f32\[10, 10\] #[0-9a-f]{16}/);
    const back = parseModule(text, { constants: constantsOf(m) });
    back.entries[0]?.body.nodes.forEach((n, k) => {
      if (n.kind === 'const') expect(n.data.read().data).toEqual(kinds[k]?.data);
    });
  });

  it('keeps which constants share their data', () => {
    const t = fromNumbers(
      'f32',
      [50],
      Array.from({ length: 50 }, (_, k) => k),
    );
    const data = { dtype: t.dtype, shape: t.shape, read: () => t };
    const text = roundTrip(build([], (b) => [b.lazyConstant(data), b.lazyConstant(data)]));
    expect(text).toContain('%1 = const same %0');
  });

  it('keeps views, concat, scatter, control flow, state, kernels and host calls', () => {
    const n = symDim({ name: 'n', lo: 1, hi: 16 });
    const b0 = (b: Builder, x: Value): readonly Value[] => {
      b.state('kv', F(2, 3), fromNumbers('f32', [2, 3], [1, 2, 3, 4, 5, 6]));
      const old = b.stateRead('kv');
      b.stateWrite(
        'kv',
        b.map([old], (v) => e.add(v, 1)),
      );
      const flat = b.reshape(b.transpose(old, [1, 0]), [6]);
      const joined = b.concat([flat, flat], 0);
      const put = b.scatter(joined, [3], 'add', ([i], read) => ({
        index: [e.mul(i as never, 2)],
        value: read(flat, [i as never]),
      }));
      const zero = b.scalar(0, 'i64');
      const three = b.scalar(3, 'i64');
      const counter = [{ dtype: 'i64', shape: [] } as const];
      const loop = b.while(
        [zero],
        b.region(counter, ([v]) => [b.map([v as Value, three], (p, q) => e.lt(p, q))]),
        b.region(counter, ([v]) => [b.map([v as Value], (p) => e.add(p, 1))]),
      );
      const positive = b.map([loop[0] as Value], (p) => e.lt(0, p));
      const chosen = b.if(
        positive,
        b.region([], () => [b.map([put], (v) => e.mul(v, 2))]),
        b.region([], () => [put]),
      );
      const sums = b.scan(n, [b.scalar(0, 'f32')], [x], (_, [sum], [v]) => {
        const next = b.map([sum as Value, v as Value], (p, q) => e.add(p, q));
        return [next, next];
      });
      const host = b.host('ai.plugin', (args) => args, [x], [x.type]);
      const size = b.bindSym(
        b.generic({ shape: [], reduce: [6], reducer: 'argmax', body: (_, [r], read) => read(flat, [r as never]) }),
        'count',
        0,
        6,
      );
      return [...chosen, ...sums, ...host, b.dim(size), b.named(put, 'a name')];
    };
    const m = build([F(n)], (b, [x]) => b0(b, x as Value));
    const text = roundTrip(m);
    for (const word of [
      'view',
      'reshape',
      'concat',
      'scatter add',
      'while',
      'if',
      'scan',
      'state_read',
      'state_write',
      'call host',
      'bind count',
      '"a name"',
    ])
      expect(text).toContain(word);
    expect(text).toContain('@ Test "a \\"quoted\\"\\nname" 3 in "fn" "loop body"');
  });

  it('names what is shared, so that text does not grow with the number of paths', () => {
    const text = roundTrip(
      build([F(4)], (b, [x]) => [
        b.map([x as Value], (v) => {
          let at = v;
          for (let k = 0; k < 60; k++) at = e.mul(e.add(at, 1), e.sub(at, 1));
          return at;
        }),
      ]),
    );
    expect(text.length).toBeLessThan(6000);
    expect(text).toContain('#0 = ');
  });

  it('a chain deeper than any stack is broken up and still reads back', () => {
    const deep = build([F(4)], (b, [x]) => [
      b.map([x as Value], (v) => Array.from({ length: 1500 }).reduce<typeof v>((p) => e.op('sin', p), v)),
    ]);
    roundTrip(deep);
  });
});

const KERNEL: Kernel = {
  name: 'odd name',
  params: [
    { name: 'x0', dtype: 'f32', access: 'read', size: symDim({ name: 'n', lo: 1, hi: 9 }) },
    { name: 'y1', dtype: 'i32', access: 'readwrite', size: 16 },
    { name: 's2', dtype: 'u8', access: 'scratch', size: 4 },
  ],
  syms: [{ name: 'n', lo: 1, hi: 9 }],
  body: [
    { s: 'alloc', buf: 3, dtype: 'f32', size: 8, space: 'register' },
    { s: 'let', var: 'total', value: vec('splat', [constant(0, 'f32')], 'f32', 4), mutable: true },
    {
      s: 'for',
      var: 'i',
      lo: i32(0),
      hi: e.dim(symDim({ name: 'n', lo: 1, hi: 9 })),
      step: 4,
      mode: 'parallel',
      body: [
        {
          s: 'set',
          var: 'total',
          value: e.add(variable('total', 'f32', 4), load(0, [variable('i', 'i32')], 'f32', { lanes: 4 })),
        },
        { s: 'store', buf: 3, index: i32(0), value: vec('extract', [variable('total', 'f32', 4)], 'f32', 1, 2) },
        {
          s: 'store',
          buf: 3,
          index: i32(4),
          value: vec('evens', [variable('total', 'f32', 4), variable('total', 'f32', 4)], 'f32', 4),
        },
        { s: 'atomic', op: 'max', buf: 1, index: variable('i', 'i32'), value: e.cast(load(2, [i32(1)], 'u8'), 'i32') },
        {
          s: 'if',
          cond: e.lt(variable('i', 'i32'), 3),
          then: [{ s: 'break' }],
          else: [{ s: 'intrin', name: 'dot', args: [i32(4)], body: [{ s: 'barrier' }] }],
        },
      ],
    },
    {
      s: 'while',
      cond: e.const(true, 'i1'),
      body: [
        {
          s: 'let',
          var: 'b',
          value: bitcast(
            load(0, [i32(0)], 'f32', {
              guard: e.lt(i32(2), e.dim(symDim({ name: 'n', lo: 1, hi: 9 }))),
              pad: constant(-1, 'f32'),
            }),
            'i32',
          ),
          mutable: false,
        },
        {
          s: 'store',
          buf: 1,
          index: i32(0),
          value: select(e.eq(variable('b', 'i32'), 7), i32(-3), variable('b', 'i32')),
        },
        { s: 'break' },
      ],
    },
  ],
};

describe('kernel level', () => {
  it('prints and parses every statement and expression kind', () => {
    const text = printKernel(KERNEL);
    const syms = new Map(KERNEL.syms.map((s) => [s.name, s]));
    const back = parseKernelText(text, syms);
    expect(back).toEqual(KERNEL);
    expect(printKernel(back)).toBe(text);
  });
});

describe('errors', () => {
  const cases: readonly (readonly [text: string, message: string])[] = [
    [
      'module "m" {\n  entry "run" () {\n    %0 = dim [n] : i64[1]\n  }\n}',
      'line 3, column 15: there is no size symbol n',
    ],
    ['module "m" {\n  entry "run" () { return "y": %7 }\n}', 'line 2, column 32: %7 is not defined'],
    ['module "m" { ?', 'line 1, column 14: "?" is not expected here'],
    ['module "m" { entry "run" ("x": %0 f31[2]) {} }', 'line 1, column 35: f31 is not an element type'],
    ['module "m" { entry "run" ("x": %0 f32[2]) { %1 = frob %0 : f32[2] return "y": %1 } }', 'there is no node frob'],
    ['module "m" { entry "run" ("x": %0 f32[2]) { %1 = add %0 : f32[2] return "y": %1 } }', 'add does not fit'],
    ['module "m" { entry "run" () { %0 = const f32[3] [1, 2] return "y": %0 } }', '2 elements for a shape of 3'],
    [
      'module "m" { entry "run" () { %0 = const f32[3] #12ab return "y": %0 } }',
      'the data of constant #12ab are not at hand',
    ],
    ['module "m" { entry "run" () { %0 = const f32[100000, 100000] splat(0) return "y": %0 } }', 'too many for splat'],
    [
      'module "m" { entry "run" ("x": %0 f32[2]) { %1 = generic %0 : f32[2] = $3[i0] return "y": %1 } }',
      'there is no operand $3',
    ],
    [
      'module "m" { entry "run" ("x": %0 f32[2]) { %1 = generic %0 : i32[2] = $0[i0] return "y": %1 } }',
      'does not verify: entry run: generic',
    ],
    [`module "m" { sym n : 1 .. 9 entry "run" () { %0 = dim [${'('.repeat(5000)}] : i64[1] } }`, 'nested more than'],
    ['module "m" { entry "run" () { %0 = dim [floordiv(4, 0)] : i64[1] } }', 'a divisor must be positive'],
  ];
  for (const [text, message] of cases)
    it(message, () => {
      expect(() => parseModule(text)).toThrowError(message);
      expect(() => parseModule(text)).toThrowError(CompileError);
    });

  it('no mutation of a text makes the parser fail in any other way, seed 77', () => {
    const good = printModule(
      build([F(4, 8), F(8, 5)], (b, [x, y]) => [
        b.map([b.matmul(x as Value, y as Value)], (v) => e.max(e.mul(v, 3), 0)),
      ]),
    );
    let s = 77;
    const below = (n: number): number => {
      s = (Math.imul(s, 1664525) + 1013904223) | 0;
      return Math.floor(((s >>> 8) / 2 ** 24) * n);
    };
    const words = [...good.matchAll(/\S+/g)].map((w) => w[0]);
    for (let k = 0; k < 600; k++) {
      const [at, length] = [below(good.length), below(6)];
      const text =
        good.slice(0, at) + (below(2) ? (words[below(words.length)] as string) : '') + good.slice(at + length);
      try {
        parseModule(text);
      } catch (cause) {
        expect(cause, text).toBeInstanceOf(CompileError);
      }
    }
  });
});

const models = sharedData('models/onnx');

describe.skipIf(!models)('real models', () => {
  const dirs = models ? readdirSync(models).filter((d) => existsSync(join(models, d, 'model.onnx'))) : [];
  const needsBounds = /^(silero|nms_yolov8)/; // sizes without a bound that no text can help
  for (const dir of dirs.filter((d) => !needsBounds.test(d)))
    it(`${dir}: text reads back to the same program, before and after the pipeline`, { timeout: 120_000 }, () => {
      const m = importSource(readModel(readFileSync(join(models as string, dir, 'model.onnx')), { file: dir }));
      for (const [module, done] of [
        [m, false],
        [optimizeModule(m, { target: 'wasm' }), true],
      ] as const) {
        const text = roundTrip(module);
        if (done) continue;
        const back = parseModule(text, { constants: constantsOf(module) });
        if (text.length < 30_000 && !text.includes('inf\n')) expect(sourceOf(back) === sourceOf(module)).toBe(true);
      }
    });
});
