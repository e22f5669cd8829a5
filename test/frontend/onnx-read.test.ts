// The ONNX reader on models built here: names, opsets, constants, subgraphs, functions, order, and what it refuses.

import { describe, expect, it } from 'vitest';
import { readOnnx } from '../../src/frontend/onnx/read.js';
import type { SourceGraph, SourceModel } from '../../src/frontend/source.js';
import { CompileError } from '../../src/support/errors.js';
import { toNumbers } from '../../src/support/tensor.js';
import {
  encodeModel,
  floatAttr,
  floats,
  type Graph,
  graph,
  graphAttr,
  intAttr,
  type Node,
  node,
  refAttr,
  stringAttr,
  type TensorFields,
  value,
} from './onnx-models.js';

const read = (g: Graph, more: Parameters<typeof encodeModel>[1] = {}): SourceModel =>
  readOnnx(encodeModel(g, more), { file: 'm.onnx' });

const mainOf = (model: SourceModel): SourceGraph => {
  const [main] = model.graphs;
  if (!main) throw new Error('no graph');
  return main;
};

/** The nodes as `out = Op(in)` lines. */
const lines = (g: SourceGraph): string[] => g.nodes.map((n) => `${n.outputs} = ${n.op}(${n.inputs})`);

const errorOf = (run: () => unknown): CompileError => {
  try {
    run();
  } catch (error) {
    if (error instanceof CompileError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
};

const codeOf = (run: () => unknown): string => errorOf(run).problems[0]?.code ?? '';

describe('graphs', () => {
  it('reads names, types, symbols, opsets and attributes', () => {
    const model = read(
      graph([node('LeakyRelu', ['x'], ['y'], { name: 'act', attribute: [floatAttr('alpha', 0.5)] })], {
        input: [value('x', ['batch', 3])],
      }),
      { opset_import: [{ version: 16 }, { domain: 'com.microsoft', version: 1 }], producer_name: 'me' },
    );
    expect(model.opsets).toEqual({ 'ai.onnx': 16, 'com.microsoft': 1 });
    expect(model.producer).toBe('me');
    const main = mainOf(model);
    expect(main.inputs).toEqual([{ name: 'x', type: { kind: 'tensor', dtype: 'f32', shape: ['batch', 3] } }]);
    expect(main.nodes).toEqual([
      {
        op: 'LeakyRelu',
        domain: 'ai.onnx',
        version: 16,
        name: 'act',
        index: 0,
        path: [],
        inputs: ['x'],
        outputs: ['y'],
        attrs: new Map([['alpha', { kind: 'float', value: 0.5 }]]),
      },
    ]);
  });

  it('takes opset 1 for files older than IR version 3, and demands one of newer files', () => {
    const g = graph([node('Relu', ['x'], ['y'])]);
    expect(read(g, { ir_version: 2, opset_import: [] }).opsets).toEqual({ 'ai.onnx': 1 });
    expect(codeOf(() => read(g, { ir_version: 8, opset_import: [] }))).toBe('E206');
  });

  it('keeps an input with an initializer as a constant only', () => {
    const main = mainOf(
      read(
        graph([node('Add', ['x', 'w'], ['y'])], {
          input: [value('x'), value('w')],
          initializer: [floats('w', [2], [1, 2])],
        }),
      ),
    );
    expect(main.inputs.map((v) => v.name)).toEqual(['x']);
    expect(toNumbers(main.initializers.get('w')!.read())).toEqual(Float64Array.of(1, 2));
  });

  it('sorts nodes that are out of order, captures of subgraphs included', () => {
    const branch = (out: string): Graph => ({ node: [node('Neg', ['late'], [out])], output: [value(out)] });
    const main = mainOf(
      read(
        graph([
          node('If', ['cond'], ['y'], {
            attribute: [graphAttr('then_branch', branch('t')), graphAttr('else_branch', branch('e'))],
          }),
          node('Greater', ['x', 'x'], ['cond']),
          node('Abs', ['x'], ['late']),
        ]),
      ),
    );
    expect(lines(main)).toEqual(['cond = Greater(x,x)', 'late = Abs(x)', 'y = If(cond)']);
    expect(main.nodes.map((n) => n.index)).toEqual([0, 1, 2]);
    const then = main.nodes[2]?.attrs.get('then_branch');
    expect(then?.kind === 'graph' && then.value.nodes[0]?.path).toEqual(['If_0.then_branch']);
  });

  it('types sequences, optionals, maps and unknown shapes', () => {
    const float = { tensor_type: { elem_type: 1 } };
    const main = mainOf(
      read(
        graph([node('Identity', ['s'], ['y'])], {
          input: [
            { name: 's', type: { sequence_type: { elem_type: float } } },
            { name: 'o', type: { optional_type: { elem_type: { sequence_type: { elem_type: float } } } } },
            { name: 'm', type: { map_type: { key_type: 7, value_type: float } } },
          ],
        }),
      ),
    );
    const element = { kind: 'tensor', dtype: 'f32', shape: null };
    expect(main.inputs.map((v) => v.type)).toEqual([
      { kind: 'sequence', element },
      { kind: 'optional', element: { kind: 'sequence', element } },
      { kind: 'map', key: 'i64', value: element },
    ]);
  });

  it('infers attribute types that old files leave out', () => {
    const attribute = [
      { name: 'f', f: 0 },
      { name: 'i', i: -3 },
      { name: 'is', ints: [1, 2] },
    ];
    const [n] = mainOf(read(graph([node('Old', ['x'], ['y'], { attribute })]), { ir_version: 1 })).nodes;
    expect([...(n?.attrs.values() ?? [])]).toEqual([
      { kind: 'float', value: 0 },
      { kind: 'int', value: -3n },
      { kind: 'ints', value: [1n, 2n] },
    ]);
  });

  it.each<[string, Node[], string]>([
    ['a missing value', [node('Add', ['x', 'nowhere'], ['y'], { name: 'n1' })], 'nowhere'],
    ['a value defined twice', [node('Neg', ['x'], ['y']), node('Abs', ['x'], ['y'], { name: 'n1' })], 'twice'],
    [
      'a cycle',
      [node('Add', ['x', 'b'], ['a'], { name: 'n1' }), node('Neg', ['a'], ['b']), node('Neg', ['b'], ['y'])],
      'n1',
    ],
    ['an output nobody makes', [node('Neg', ['x'], ['z'])], '"y"'],
  ])('names the place of %s', (_, nodes, text) => {
    const error = errorOf(() => read(graph(nodes)));
    expect(error.problems[0]?.code).toBe('E206');
    expect(error.message).toContain(text);
    if (nodes.some((n) => n.name === 'n1')) expect(error.problems[0]?.at?.node).toBe('n1');
  });
});

describe('constants', () => {
  const constant = (fields: TensorFields, external?: (location: string) => Uint8Array) => {
    const bytes = encodeModel(graph([node('Add', ['x', 'w'], ['y'])], { initializer: [{ name: 'w', ...fields }] }));
    const model = readOnnx(bytes, { file: 'm.onnx', ...(external ? { external } : {}) });
    return mainOf(model).initializers.get('w')!;
  };
  const numbers = (fields: TensorFields): number[] => [...toNumbers(constant(fields).read())];

  it.each<[string, TensorFields, number[]]>([
    ['raw f32', { data_type: 1, dims: [2], raw_data: new Uint8Array(Float32Array.of(1.5, -2).buffer) }, [1.5, -2]],
    ['raw i64', { data_type: 7, dims: [1], raw_data: new Uint8Array(BigInt64Array.of(-5n).buffer) }, [-5]],
    ['raw bool', { data_type: 9, dims: [3], raw_data: Uint8Array.of(0, 1, 7) }, [0, 1, 1]],
    ['raw i4, packed low first', { data_type: 22, dims: [3], raw_data: Uint8Array.of(0xf1, 0x08) }, [1, -1, -8]],
    [
      'raw u2, packed low first',
      { data_type: 25, dims: [5], raw_data: Uint8Array.of(0b11100100, 0b10) },
      [0, 1, 2, 3, 2],
    ],
    ['raw f4', { data_type: 23, dims: [2], raw_data: Uint8Array.of(0xf2) }, [1, -6]],
    ['f16 in int32_data', { data_type: 10, dims: [2], int32_data: [0x3c00, 0xc000] }, [1, -2]],
    ['bf16 in int32_data', { data_type: 16, dims: [1], int32_data: [0x3f80] }, [1]],
    ['f8 in int32_data', { data_type: 17, dims: [2], int32_data: [0x38, 0xb8] }, [1, -1]],
    ['i4 in int32_data, packed', { data_type: 22, dims: [3], int32_data: [0xf1, 0x08] }, [1, -1, -8]],
    ['i8 in int32_data', { data_type: 3, dims: [2], int32_data: [-1, 5] }, [-1, 5]],
    ['i64 in int64_data', { data_type: 7, dims: [2], int64_data: [-1, 2 ** 40] }, [-1, 2 ** 40]],
    ['u32 in uint64_data', { data_type: 12, dims: [1], uint64_data: [4294967295] }, [4294967295]],
    ['f64 in double_data', { data_type: 11, dims: [1], double_data: [0.1] }, [0.1]],
    ['complex64 as pairs', { data_type: 14, dims: [1], float_data: [1, 2] }, [1, 2]],
    ['a scalar', { data_type: 1, float_data: [3] }, [3]],
    ['an empty tensor', { data_type: 1, dims: [0, 5] }, []],
  ])('reads %s', (_, fields, expected) => {
    expect(numbers(fields)).toEqual(expected);
  });

  it('gives complex tensors a trailing axis of 2', () => {
    expect(constant({ data_type: 15, dims: [1], double_data: [1, 2] }).shape).toEqual([1, 2]);
  });

  it('reads 64-bit extremes exactly', () => {
    const raw = BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n);
    const low = { low: 0, high: -(2 ** 31), unsigned: false };
    const stored = { data_type: 7, dims: [1], int64_data: [low as unknown as number] };
    expect(constant({ data_type: 7, dims: [2], raw_data: new Uint8Array(raw.buffer) }).read().data).toEqual(raw);
    expect(constant(stored).read().data).toEqual(BigInt64Array.of(-(2n ** 63n)));
  });

  it('reads strings', () => {
    const string_data = ['a', 'ß'].map((s) => new TextEncoder().encode(s));
    expect(constant({ data_type: 8, dims: [2], string_data }).read().data).toEqual(['a', 'ß']);
  });

  it('leaves raw data in the file and aliases it where aligned', () => {
    const fields = { data_type: 3, dims: [4], raw_data: Uint8Array.of(1, 2, 3, 4) };
    const bytes = encodeModel(graph([node('Add', ['x', 'w'], ['y'])], { initializer: [{ name: 'w', ...fields }] }));
    const w = mainOf(readOnnx(bytes, { file: 'm.onnx' })).initializers.get('w')!;
    const { data } = w.read();
    expect(typeof data === 'object' && 'buffer' in data && data.buffer).toBe(bytes.buffer);
    expect(w.read()).toBe(w.read());
  });

  it('writes sparse initializers out', () => {
    const sparse = {
      values: floats('w', [2], [5, 7]),
      indices: { data_type: 7, dims: [2, 2], int64_data: [0, 1, 1, 0] },
      dims: [2, 2],
    };
    const main = mainOf(read(graph([node('Add', ['x', 'w'], ['y'])], { sparse_initializer: [sparse] })));
    expect([...toNumbers(main.initializers.get('w')!.read())]).toEqual([0, 5, 7, 0]);
    const outside = { ...sparse, indices: { data_type: 7, dims: [2], int64_data: [0, 4] } };
    const bad = mainOf(read(graph([node('Add', ['x', 'w'], ['y'])], { sparse_initializer: [outside] })));
    expect(codeOf(() => bad.initializers.get('w')!.read())).toBe('E103');
  });

  it('reads external data, and only within its file and folder', () => {
    const entries = (location: string, offset = '4', length = '8') => [
      { key: 'location', value: location },
      { key: 'offset', value: offset },
      { key: 'length', value: length },
    ];
    const file = new Uint8Array(Float32Array.of(0, 1, 2).buffer);
    const fields = (external_data: ReturnType<typeof entries>): TensorFields => ({
      data_type: 1,
      dims: [2],
      data_location: 1,
      external_data,
    });
    const open = (location: string): Uint8Array => {
      if (location !== 'w.bin') throw new Error('no such file');
      return file;
    };
    expect([...toNumbers(constant(fields(entries('w.bin')), open).read())]).toEqual([1, 2]);
    const refused = [entries('w.bin', '8'), entries('other.bin'), entries('w.bin', '99999999999')];
    for (const bad of refused) expect(codeOf(() => constant(fields(bad), open).read())).toBe('E104');
    const atOnce = [entries('../w.bin'), entries('/w.bin'), entries('w.bin', '-1'), entries('w.bin', '0', '7')];
    for (const bad of atOnce) expect(codeOf(() => constant(fields(bad), open))).toBe('E104');
    expect(codeOf(() => constant(fields(entries('w.bin'))).read())).toBe('E104');
  });

  it.each<[string, TensorFields]>([
    ['raw data too short', { data_type: 1, dims: [3], raw_data: new Uint8Array(8) }],
    ['raw data too long', { data_type: 1, dims: [1], raw_data: new Uint8Array(8) }],
    ['no data', { data_type: 1, dims: [1000000, 1000000] }],
    ['a negative dimension', { data_type: 1, dims: [-1] }],
    ['dimensions whose product overflows', { data_type: 1, dims: [2 ** 40, 2 ** 40] }],
    ['too few strings', { data_type: 8, dims: [2] }],
    ['rank 65', { data_type: 1, dims: Array(65).fill(1), float_data: [1] }],
  ])('refuses %s', (_, fields) => {
    expect(codeOf(() => constant(fields))).toBe('E103');
  });
});

describe('functions', () => {
  const fn = (name: string, nodes: Node[], more: object = {}) => ({
    name,
    domain: 'mine',
    input: ['a'],
    output: ['b'],
    node: nodes,
    opset_import: [{ domain: '', version: 18 }],
    ...more,
  });
  const call = (name: string, input: string[], output: string[], more: Partial<Node> = {}): Node =>
    node(name, input, output, { domain: 'mine', ...more });

  it('inlines calls with unique names, provenance, and the function’s own opset', () => {
    const twice = fn('Twice', [node('Neg', ['a'], ['t']), node('Neg', ['t'], ['b'])]);
    const main = mainOf(
      read(graph([call('Twice', ['x'], ['m'], { name: 'c1' }), call('Twice', ['m'], ['y'], { name: 'c2' })]), {
        functions: [twice],
      }),
    );
    expect(lines(main)).toEqual(['c1/t = Neg(x)', 'm = Neg(c1/t)', 'c2/t = Neg(m)', 'y = Neg(c2/t)']);
    expect(main.nodes.map((n) => n.path)).toEqual([['c1:Twice'], ['c1:Twice'], ['c2:Twice'], ['c2:Twice']]);
    expect(main.nodes[0]).toMatchObject({ version: 18, name: 'c1/Neg_0' });
  });

  it('resolves attribute references: given, default, absent; through nested calls and subgraphs', () => {
    const branch = (out: string, more: Partial<Node>): Graph => ({
      node: [node('Elu', ['a'], [out], more)],
      output: [value(out)],
    });
    const attribute = [refAttr('alpha', 'slope', 1)];
    const inner = fn(
      'Inner',
      [
        node('Cast', ['a'], ['c'], { attribute: [refAttr('to', 'type', 2), refAttr('gone', 'nothing', 2)] }),
        node('If', ['c'], ['b'], {
          attribute: [
            graphAttr('then_branch', branch('t', { attribute })),
            graphAttr('else_branch', branch('e', { attribute })),
          ],
        }),
      ],
      { attribute: ['slope', 'nothing'], attribute_proto: [intAttr('type', 9)] },
    );
    const outer = fn('Outer', [call('Inner', ['a'], ['b'], { attribute: [refAttr('slope', 's', 1)] })], {
      attribute: ['s'],
    });
    const g = graph([call('Outer', ['x'], ['y'], { attribute: [floatAttr('s', 0.25)] })]);
    const main = mainOf(read(g, { functions: [inner, outer] }));
    expect([...(main.nodes[0]?.attrs ?? [])]).toEqual([['to', { kind: 'int', value: 9n }]]);
    const then = main.nodes[1]?.attrs.get('then_branch');
    const elu = then?.kind === 'graph' ? then.value.nodes[0] : undefined;
    expect(elu?.attrs.get('alpha')).toEqual({ kind: 'float', value: 0.25 });
    expect(elu?.inputs).toEqual(['x']);
    expect(elu?.path).toEqual(['Outer', 'Inner', 'If_1.then_branch']);
  });

  it('passes absent optionals through, and copies an input that is an output', () => {
    const clip = fn('MyClip', [node('Clip', ['a', 'lo', 'hi'], ['b'])], {
      input: ['a', 'lo', 'hi'],
      output: ['b', 'a'],
    });
    const main = mainOf(
      read(graph([call('MyClip', ['x', ''], ['y', 'same'])], { output: [value('y'), value('same')] }), {
        functions: [clip],
      }),
    );
    expect(lines(main)).toEqual(['y = Clip(x,,)', 'same = Identity(x)']);
  });

  it('avoids names the model already uses', () => {
    const f = fn('F', [node('Neg', ['a'], ['t']), node('Abs', ['t'], ['b'])]);
    const main = mainOf(
      read(graph([node('Exp', ['x'], ['c/t']), call('F', ['c/t'], ['y'], { name: 'c' })]), { functions: [f] }),
    );
    expect(lines(main)).toEqual(['c/t = Exp(x)', 'c/t#2 = Neg(c/t)', 'y = Abs(c/t#2)']);
  });

  it('refuses recursion, and bodies that multiply beyond the file’s size', () => {
    const ping = fn('Ping', [call('Pong', ['a'], ['b'])]);
    const pong = fn('Pong', [call('Ping', ['a'], ['b'])]);
    const error = errorOf(() => read(graph([call('Ping', ['x'], ['y'])]), { functions: [ping, pong] }));
    expect(error.message).toContain('mine::Ping → mine::Pong → mine::Ping');
    expect(error.problems[0]?.code).toBe('E206');

    const levels = Array.from({ length: 60 }, (_, i) =>
      fn(`L${i}`, [call(`L${i + 1}`, ['a'], ['t']), call(`L${i + 1}`, ['t'], ['b'])]),
    );
    const bomb = [...levels, fn('L60', [node('Neg', ['a'], ['b'])])];
    expect(codeOf(() => read(graph([call('L0', ['x'], ['y'])]), { functions: bomb }))).toBe('E105');
  });
});

describe('malformed files', () => {
  const good = encodeModel(graph([node('Relu', ['x'], ['y'], { attribute: [stringAttr('s', 'hello')] })]));

  it.each<[string, Uint8Array]>([
    ['an empty file', new Uint8Array()],
    ['text', new TextEncoder().encode('hello')],
    ['a TFLite file', Uint8Array.of(28, 0, 0, 0, 0x54, 0x46, 0x4c, 0x33)],
    ['a Git LFS pointer', new TextEncoder().encode('version https://git-lfs.github.com/spec/v1')],
    ['a model without a graph', Uint8Array.of(8, 7)],
  ])('calls %s not ONNX', (_, bytes) => {
    expect(codeOf(() => readOnnx(bytes, { file: 'm.onnx' }))).toBe('E102');
  });

  it('gives the offset where a truncated file breaks', () => {
    const error = errorOf(() => readOnnx(good.subarray(0, good.length - 10), { file: 'm.onnx' }));
    expect(error.problems[0]).toMatchObject({ code: 'E103', at: { file: 'm.onnx' } });
    expect(error.problems[0]?.at?.offset).toBeGreaterThan(0);
  });

  it('refuses a length of four gigabytes, endless nesting and floods of empty messages', () => {
    const huge = Uint8Array.of(0x08, 7, 0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f);
    expect(codeOf(() => readOnnx(huge, { file: 'm.onnx' }))).toBe('E103');

    expect(codeOf(() => readOnnx(nestGraphs(5_000), { file: 'm.onnx' }))).toBe('E103');

    const flood = new Uint8Array(4_000_007);
    const length = flood.length - 7;
    flood.set([
      0x08,
      7,
      0x3a,
      (length & 127) | 128,
      ((length >> 7) & 127) | 128,
      ((length >> 14) & 127) | 128,
      length >> 21,
    ]);
    for (let i = 7; i + 1 < flood.length; i += 2) flood.set([0x0a, 0x00], i);
    expect(codeOf(() => readOnnx(flood, { file: 'm.onnx' }))).toBe('E103');
  });
});

/** Graph → node → attribute → graph …, `levels` deep. */
function nestGraphs(levels: number): Uint8Array {
  const parts: number[][] = [];
  let length = 0;
  for (let i = 0; i < levels; i++) {
    for (const tag of [0x32, 0x2a, 0x0a]) {
      const header = [tag, (length & 127) | 128, ((length >> 7) & 127) | 128, (length >> 14) & 127];
      parts.push(header);
      length += header.length;
    }
  }
  const header = [0x3a, (length & 127) | 128, ((length >> 7) & 127) | 128, (length >> 14) & 127];
  return Uint8Array.from([8, 7, ...header, ...parts.reverse().flat()]);
}
