// The TFLite reader: real files (against what their meta.json says of them), files built here for each feature of the
// format, and damaged files, which must give a CompileError or a model and never anything else.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { encode } from 'flatbuffers/mjs/flexbuffers.js';
import { describe, expect, it } from 'vitest';
import type { SourceModel, SourceValue } from '../../src/frontend/source.js';
import { optionsTable } from '../../src/frontend/tflite/options.js';
import { readTflite } from '../../src/frontend/tflite/read.js';
import { CompileError } from '../../src/support/errors.js';
import { sharedData } from '../shared-data.js';
import { buildModel, type Fields } from './tflite-builder.js';

const read = (bytes: Uint8Array): SourceModel => readTflite(bytes, { file: 'test.tflite' });

const FLOAT32 = 0;
const code = (builtin: number, version = 1): Fields => ({
  builtin_code: builtin,
  deprecated_builtin_code: Math.min(builtin, 127),
  version,
});
const ADD = code(0, 2);
const data = (array: { readonly buffer: ArrayBufferLike }): Fields => ({ data: new Uint8Array(array.buffer) });

/** A model of one ADD, t2 = t0 + t1, where t1 is a constant; parts can be replaced. */
function addModel(parts: { tensor?: Fields; operator?: Fields; graph?: Fields; model?: Fields } = {}): Uint8Array {
  const tensor = { shape: [2], type: FLOAT32, name: 'x' };
  return buildModel({
    operator_codes: [ADD],
    buffers: [{}, data(Float32Array.of(1, -2))],
    description: 'built for a test',
    subgraphs: [
      {
        tensors: [tensor, { ...tensor, name: 'c', buffer: 1, ...parts.tensor }, { ...tensor, name: 'y' }],
        inputs: [0],
        outputs: [2],
        operators: [
          {
            opcode_index: 0,
            inputs: [0, 1],
            outputs: [2],
            builtin_options: ['AddOptions', { fused_activation_function: 3 }],
            ...parts.operator,
          },
        ],
        name: 'main',
        ...parts.graph,
      },
    ],
    ...parts.model,
  });
}

const constant = (model: SourceModel, name = 't1') => model.graphs[0]!.initializers.get(name)!.read();
const shapeOf = (value: SourceValue) => (value.type.kind === 'tensor' ? value.type.shape : value.type.kind);

function problemOf(bytes: Uint8Array) {
  try {
    read(bytes);
  } catch (error) {
    if (error instanceof CompileError) return error.problems[0]!;
    throw error;
  }
  throw new Error('the file was accepted');
}

describe('a built model', () => {
  it('has its graph, names, constants and options', () => {
    const model = read(addModel());
    const graph = model.graphs[0]!;
    expect(model).toMatchObject({ format: 'tflite', opsets: { tflite: 3 }, producer: 'built for a test' });
    expect(graph.inputs.map((v) => [v.name, v.label, shapeOf(v)])).toEqual([['t0', 'x', [2]]]);
    expect(graph.outputs.map((v) => v.name)).toEqual(['t2']);
    expect(constant(model)).toEqual({ dtype: 'f32', shape: [2], data: Float32Array.of(1, -2) });
    expect(graph.nodes[0]).toMatchObject({ op: 'ADD', domain: 'tflite', version: 2, name: 'y', index: 0 });
    expect(Object.fromEntries(graph.nodes[0]!.attrs)).toEqual({
      fused_activation_function: { kind: 'string', value: 'RELU6' },
      pot_scale_int16: { kind: 'bool', value: true },
    });
  });

  it('takes the larger of the two operator codes and names codes newer than the schema by number', () => {
    const op = (codes: Fields) => {
      const subgraphs = [{ tensors: [{ shape: [1] }], operators: [{ outputs: [0] }] }];
      return read(buildModel({ operator_codes: [codes], subgraphs })).graphs[0]!.nodes[0]!.op;
    };
    expect(op({ deprecated_builtin_code: 18 })).toBe('MUL');
    expect(op({ deprecated_builtin_code: 127, builtin_code: 150 })).toBe('GELU');
    expect(op({ builtin_code: 9999 })).toBe('BUILTIN_9999');
  });

  it('gives an operator without options its schema defaults', () => {
    const bytes = buildModel({
      operator_codes: [code(3)],
      subgraphs: [{ tensors: [{ shape: [1] }], operators: [{ outputs: [0] }] }],
    });
    const attrs = read(bytes).graphs[0]!.nodes[0]!.attrs;
    expect(attrs.get('padding')).toEqual({ kind: 'string', value: 'SAME' });
    expect(attrs.get('dilation_w_factor')).toEqual({ kind: 'int', value: 1n });
    expect(attrs.get('quantized_bias_type')).toEqual({ kind: 'string', value: 'f32' });
  });

  it('reads the second options union', () => {
    const pad: Fields = { edge_padding_low: [1n, -2n], edge_padding_high: [0n], interior_padding: [] };
    const bytes = addModel({
      model: { operator_codes: [code(195)] },
      operator: { builtin_options: ['AddOptions', {}], builtin_options_2: ['StablehloPadOptions', pad] },
    });
    expect(problemOf(bytes)).toMatchObject({ code: 'E103', at: { op: 'STABLEHLO_PAD', operator: 0 } });
    const tensors = { tensors: [{ shape: [1] }, { shape: [1] }], inputs: [0], outputs: [1] };
    const operators = [{ inputs: [0], outputs: [1], builtin_options_2: ['StablehloPadOptions', pad] }];
    const good = buildModel({ operator_codes: [code(195)], subgraphs: [{ ...tensors, operators }] });
    expect(read(good).graphs[0]!.nodes[0]!.attrs.get('edge_padding_low')).toEqual({ kind: 'ints', value: [1n, -2n] });
  });

  it('decodes the flexbuffer map of a custom operator, and keeps other bytes raw', () => {
    const custom = (options: Uint8Array) =>
      read(
        addModel({
          model: { operator_codes: [{ builtin_code: 32, deprecated_builtin_code: 32, custom_code: 'MyOp' }] },
          operator: { builtin_options: ['AddOptions', {}], custom_options: options },
        }),
      ).graphs[0]!.nodes[0]!;
    const node = custom(encode({ rate: 0.5, n: -70000, on: true, name: 'abc', taps: [1, 2, 3], w: [0.5, 2] }));
    expect(node).toMatchObject({ op: 'MyOp', domain: 'tflite.custom' });
    expect([...node.attrs].filter(([key]) => key !== 'raw')).toEqual([
      ['n', { kind: 'int', value: -70000n }],
      ['name', { kind: 'string', value: 'abc' }],
      ['on', { kind: 'bool', value: true }],
      ['rate', { kind: 'float', value: 0.5 }],
      ['taps', { kind: 'ints', value: [1n, 2n, 3n] }],
      ['w', { kind: 'floats', value: [0.5, 2] }],
    ]);
    expect([...custom(Uint8Array.of(1, 2, 3, 4, 5)).attrs]).toEqual([
      ['raw', { kind: 'bytes', value: Uint8Array.of(1, 2, 3, 4, 5) }],
    ]);
  });

  it('unpacks narrow integers lowest bits first', () => {
    const packed = (type: number, shape: number[], ...bytes: number[]) =>
      constant(read(addModel({ tensor: { type, shape }, model: { buffers: [{}, { data: bytes }] } })));
    expect(packed(17, [3], 0x8f, 0x07)).toEqual({ dtype: 'i4', shape: [3], data: Int8Array.of(-1, -8, 7) });
    expect(packed(20, [3], 0x8f, 0x07)).toEqual({ dtype: 'u4', shape: [3], data: Uint8Array.of(15, 8, 7) });
    expect(packed(19, [5], 0b11_10_01_00, 1)).toEqual({ dtype: 'i2', shape: [5], data: Int8Array.of(0, 1, -2, -1, 1) });
    expect(packed(6, [2], 5, 0)).toEqual({ dtype: 'i1', shape: [2], data: Uint8Array.of(1, 0) });
    expect(packed(8, [1], 0, 0, 128, 63, 0, 0, 0, 192)).toEqual({
      dtype: 'f32',
      shape: [1, 2],
      data: Float32Array.of(1, -2),
    });
  });

  it('reads strings and checks their offsets', () => {
    const strings = (...words: number[]) =>
      addModel({
        tensor: { type: 5, shape: [2] },
        model: { buffers: [{}, { data: [...new Uint8Array(Int32Array.from(words).buffer), 104, 105, 33] }] },
      });
    expect(constant(read(strings(2, 16, 18, 19))).data).toEqual(['hi', '!']);
    expect(() => constant(read(strings(2, 16, 99, 19)))).toThrow(/E103 string 0/);
    expect(problemOf(strings(3, 16, 18, 19)).code).toBe('E103');
  });

  it('densifies sparse constants in logical order, with and without blocks', () => {
    const csr = (segments: number[], indices: number[]): Fields => ({
      format: 1,
      array_segments: ['Uint8Vector', { values: segments }],
      array_indices: ['Int32Vector', { values: indices }],
    });
    const dense = (dense_size: number): Fields => ({ dense_size });
    const sparse = (shape: number[], sparsity: Fields, values: number[]) =>
      addModel({ tensor: { shape, sparsity }, model: { buffers: [{}, data(Float32Array.from(values))] } });
    const rows = sparse(
      [2, 3],
      { traversal_order: [0, 1], dim_metadata: [dense(2), csr([0, 1, 3], [2, 0, 1])] },
      [1, 2, 3],
    );
    expect(constant(read(rows)).data).toEqual(Float32Array.of(0, 0, 1, 2, 3, 0));
    const columns = sparse(
      [2, 3],
      { traversal_order: [1, 0], dim_metadata: [dense(3), csr([0, 1, 1, 2], [1, 0])] },
      [1, 2],
    );
    expect(constant(read(columns)).data).toEqual(Float32Array.of(0, 0, 2, 1, 0, 0));
    const blocks = {
      traversal_order: [0, 1, 2],
      block_map: [1],
      dim_metadata: [dense(2), csr([0, 1, 2], [1, 0]), dense(2)],
    };
    expect(constant(read(sparse([2, 4], blocks, [1, 2, 3, 4]))).data).toEqual(Float32Array.of(0, 0, 1, 2, 3, 4, 0, 0));
    const huge = { traversal_order: [0, 1], dim_metadata: [dense(1 << 30), csr([0, 1], [0])] };
    expect(problemOf(sparse([1 << 30, 4], huge, [1])).code).toBe('E103');
  });

  it('reads quantisation per tensor, per axis and by block', () => {
    const quant = (quantization: Fields, shape = [2]) =>
      read(
        addModel({
          tensor: { type: 9, shape, quantization },
          model: { buffers: [{}, { data: new Uint8Array(shape[0]! * (shape[1] ?? 1)) }] },
        }),
      ).graphs[0]!.values.get('t1')!.quant;
    expect(quant({ scale: [0.5], zero_point: [-3n] })).toEqual({
      scale: Float32Array.of(0.5),
      zeroPoint: [-3],
      axis: 0,
    });
    expect(quant({ scale: [0.5, 2], zero_point: [0n, 0n], quantized_dimension: 1 }, [3, 2])).toMatchObject({
      zeroPoint: [0, 0],
      axis: 1,
    });
    expect(quant({ min: [0], max: [1] })).toBeUndefined();
    const details = ['BlockwiseQuantization', { scales: 0, zero_points: -1, block_size: 32 }];
    expect(quant({ details })).toMatchObject({ block: { scales: 't0', zeroPoints: '', size: 32 } });
    expect(() => quant({ scale: [1, 2, 3], quantized_dimension: 0 })).toThrow(/E103 3 scales do not fit/);
    expect(() => quant({ details: ['BlockwiseQuantization', { scales: 9 }] })).toThrow(/E103 .*tensor 9 of 3/);
  });

  it('keeps unknown dimensions, variables, signatures and metadata', () => {
    const maps = (name: string, tensor_index: number) => [{ name, tensor_index }];
    const model = read(
      addModel({
        tensor: { buffer: 0, is_variable: true, shape: [1, 4], shape_signature: [-1, 4] },
        model: {
          signature_defs: [{ signature_key: 'serve', inputs: maps('in', 0), outputs: maps('__proto__', 2) }],
          metadata: [{ name: 'min_runtime_version', buffer: 1 }],
          buffers: [{}, { data: [49, 46, 53, 0, 0] }],
        },
      }),
    );
    expect(model.graphs[0]!.values.get('t1')).toMatchObject({ variable: true, type: { shape: [null, 4] } });
    expect(model.signatures[0]).toMatchObject({ key: 'serve', graph: 0, inputs: { in: 't0' } });
    expect(Object.entries(model.signatures[0]!.outputs)).toEqual([['__proto__', 't2']]);
    expect(model.metadata).toEqual({ min_runtime_version: '1.5' });
  });

  it('finds constants beyond the flatbuffer, at any alignment', () => {
    const place = (offset: number) => addModel({ model: { buffers: [{}, { offset, size: 8 }] } });
    const root = place(9999);
    for (const shift of [0, 1]) {
      const bytes = new Uint8Array(root.length + 16 + shift);
      bytes.set(place(root.length + shift));
      bytes.set(new Uint8Array(Float32Array.of(3, 4).buffer), root.length + shift);
      expect(constant(read(bytes)).data).toEqual(Float32Array.of(3, 4));
    }
    expect(problemOf(root)).toMatchObject({
      code: 'E103',
      message: `8 bytes at 9999 lie beyond the file's ${root.length}`,
    });
  });

  it('gives each write of a tensor a name of its own', () => {
    const operators = [
      { inputs: [0, 0], outputs: [0] },
      { inputs: [0, 1], outputs: [2] },
      { inputs: [2, -1], outputs: [2] },
    ];
    const graph = read(addModel({ graph: { operators } })).graphs[0]!;
    expect(graph.nodes.map((n) => [n.inputs, n.outputs])).toEqual([
      [['t0', 't0'], ['t0.1']],
      [['t0.1', 't1'], ['t2']],
      [['t2', ''], ['t2.1']],
    ]);
    expect(graph.outputs.map((v) => v.name)).toEqual(['t2.1']);
  });
});

describe('a damaged or hostile file', () => {
  it('is told from another format', () => {
    expect(problemOf(new Uint8Array(0)).code).toBe('E102');
    expect(problemOf(new TextEncoder().encode('not a model at all')).code).toBe('E102');
  });

  it('gets an error with operator and op for an index that is out of range', () => {
    expect(problemOf(addModel({ operator: { inputs: [0, 7] } }))).toMatchObject({
      code: 'E206',
      message: 'input 1 is tensor 7; the subgraph has 3',
      at: { op: 'ADD', operator: 0, node: 'ADD_0' },
    });
    expect(problemOf(addModel({ operator: { outputs: [-2] } })).code).toBe('E206');
    expect(problemOf(addModel({ operator: { opcode_index: 5 } }))).toMatchObject({ code: 'E206', at: { operator: 0 } });
    expect(problemOf(addModel({ tensor: { buffer: 44 } })).message).toBe('tensor 1 names buffer 44 of 2');
    expect(problemOf(addModel({ graph: { inputs: [3] } })).message).toMatch(/tensor 3 of 3/);
  });

  it('gets an error for a constant of the wrong length, an unknown enum value and the wrong options', () => {
    expect(problemOf(addModel({ tensor: { shape: [3] } })).message).toBe('FLOAT32[3] needs 12 bytes, its buffer has 8');
    const options = ['AddOptions', { fused_activation_function: 77 }];
    expect(problemOf(addModel({ operator: { builtin_options: options } })).message).toMatch(/is 77/);
    expect(problemOf(addModel({ operator: { builtin_options: ['SubOptions', {}] } })).message).toMatch(
      /carries SubOptions/,
    );
    expect(problemOf(addModel({ tensor: { type: 99 } })).code).toBe('E105');
    expect(problemOf(addModel({ model: { version: 1 } })).code).toBe('E105');
  });

  it('cannot make subgraphs call each other for ever', () => {
    const call = (subgraph: number): Fields => ({ operators: [{ builtin_options: ['CallOptions', { subgraph }] }] });
    const calls = (...to: number[]) => buildModel({ operator_codes: [code(31)], subgraphs: to.map(call) });
    expect(problemOf(calls(1, 0))).toMatchObject({ code: 'E206', at: { op: 'CALL', operator: 0 } });
    expect(problemOf(calls(4))).toMatchObject({ code: 'E206', message: 'subgraph 4 is called; the file has 1' });
  });

  it('cannot make a small file cost much by naming the same parts again and again', () => {
    const bytes = addModel({ graph: { operators: Array.from({ length: 500 }, () => ({ outputs: [2] })) } });
    const view = new DataView(bytes.buffer);
    const grown = new Uint8Array(bytes.length + 4 + 4 * 20000);
    grown.set(bytes);
    // Points the model's vector of subgraphs at a new one whose 20000 entries are all the same subgraph.
    const model = view.getUint32(0, true);
    const field = model + view.getUint16(model - view.getInt32(model, true) + 4 + 2 * 2, true);
    const vector = field + view.getUint32(field, true);
    const subgraph = vector + 4 + view.getUint32(vector + 4, true);
    const out = new DataView(grown.buffer);
    out.setUint32(field, bytes.length - field, true);
    out.setUint32(bytes.length, 20000, true);
    for (let i = 0; i < 20000; i++) {
      const at = bytes.length + 4 + 4 * i;
      out.setUint32(at, subgraph - at + 2 ** 32, true);
    }
    expect(problemOf(grown).code).toBe('E103');
  });
});

/** Mulberry32: small, seeded, good enough to choose bytes. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One to four flips, words, copies or a cut; three in four of them where the structure is, not the weights. */
function mutate(original: Uint8Array, next: () => number): Uint8Array {
  const bytes = original.slice();
  const pick = (n: number) => Math.floor(next() * n);
  const place = () =>
    next() < 0.75
      ? Math.min(bytes.length - 4, pick(2048) + (next() < 0.5 ? 0 : bytes.length - 2048))
      : pick(bytes.length - 4);
  const words = [0, 1, 4, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffffc, 0x10000, bytes.length, bytes.length - 4];
  const view = new DataView(bytes.buffer);
  for (let n = 1 + pick(4); n > 0; n--) {
    const at = Math.max(0, place());
    const what = pick(5);
    if (what === 0) bytes[at]! ^= 1 << pick(8);
    else if (what === 1) bytes[at] = pick(256);
    else if (what === 2) view.setUint32(at, words[pick(words.length)]!, true);
    else if (what === 3) bytes.copyWithin(at, pick(bytes.length), pick(bytes.length));
    else if (next() < 0.3) return bytes.slice(0, pick(bytes.length));
  }
  return bytes;
}

/** Reads 700 mutations of a file and every constant of those that are accepted; counts both outcomes. */
function mutationTest(original: Uint8Array, seed: number) {
  const next = random(seed);
  const outcome = { read: 0, refused: 0, slowest: 0 };
  for (let i = 0; i < 700; i++) {
    const bytes = mutate(original, next);
    const start = performance.now();
    try {
      for (const graph of read(bytes).graphs) for (const lazy of graph.initializers.values()) lazy.read();
      outcome.read++;
    } catch (error) {
      if (!(error instanceof CompileError)) throw new Error(`seed ${seed}, mutation ${i}`, { cause: error });
      expect(error.problems[0]!.code).toMatch(/^E10[235]$|^E206$/);
      outcome.refused++;
    }
    outcome.slowest = Math.max(outcome.slowest, performance.now() - start);
  }
  return outcome;
}

describe('700 mutations of a model give a model or a CompileError, quickly', () => {
  it('for a built model', () => {
    const { read: accepted, refused, slowest } = mutationTest(addModel(), 20240607);
    expect(accepted).toBeGreaterThan(20);
    expect(refused).toBeGreaterThan(100);
    expect(slowest).toBeLessThan(1000);
  });

  const root = sharedData('conformance/tflite/models');
  it.skipIf(!root)('for real models', { timeout: 60_000 }, () => {
    for (const name of ['keyword_scrambled', 'mp_face_detection_full_range_sparse']) {
      const bytes = new Uint8Array(readFileSync(join(root!, name, 'model.tflite')));
      const { read: accepted, refused, slowest } = mutationTest(bytes, 7);
      expect(accepted, name).toBeGreaterThan(20);
      expect(refused, name).toBeGreaterThan(100);
      expect(slowest, name).toBeLessThan(2000);
    }
  });
});

interface Meta {
  readonly ops?: Readonly<Record<string, number>>;
  readonly inputs: readonly MetaValue[];
  readonly outputs: readonly MetaValue[];
}
interface MetaValue {
  readonly dtype: string;
  readonly shape: readonly number[];
}

/** numpy's name of an element type, from ours. */
const numpyName = (dtype: string) =>
  dtype === 'i1'
    ? 'bool'
    : dtype
        .replace(/^f(\d+)$/, 'float$1')
        .replace(/^u(\d+)$/, 'uint$1')
        .replace(/^i(\d+)$/, 'int$1');

function countOps(model: SourceModel): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const node of model.graphs.flatMap((g) => g.nodes)) {
    const op = node.domain === 'tflite.custom' ? `CUSTOM:${node.op}` : node.op;
    counts[op] = (counts[op] ?? 0) + 1;
  }
  return counts;
}

/** The file's declaration of a value beside meta's; what the file leaves open is taken from meta. */
function compare(values: readonly SourceValue[], metas: readonly MetaValue[]) {
  const declared = values.map(({ type }, i) => {
    if (type.kind !== 'tensor') return { dtype: type.kind, shape: null };
    const shape = type.shape?.map((d, k) => d ?? metas[i]?.shape[k]) ?? metas[i]?.shape;
    return { dtype: numpyName(type.dtype), shape };
  });
  return { declared, expected: metas.map(({ dtype, shape }) => ({ dtype, shape })) };
}

describe.each(['ops', 'models'])('conformance files: %s', (kind) => {
  const root = sharedData(`conformance/tflite/${kind}`);
  const cases = root ? readdirSync(root).filter((name) => existsSync(join(root, name, 'model.tflite'))) : [];
  it.skipIf(!root)('are there', () => expect(cases.length).toBeGreaterThan(50));
  it.each(cases)('%s', (name) => {
    const meta = JSON.parse(readFileSync(join(root!, name, 'meta.json'), 'utf8')) as Meta;
    const model = read(new Uint8Array(readFileSync(join(root!, name, 'model.tflite'))));
    for (const graph of model.graphs) for (const lazy of graph.initializers.values()) lazy.read();
    if (meta.ops) expect(countOps(model)).toEqual(meta.ops);
    const inputs = compare(model.graphs[0]!.inputs, meta.inputs);
    expect(inputs.declared).toEqual(inputs.expected);
    const outputs = compare(model.graphs[0]!.outputs, meta.outputs);
    expect(outputs.declared).toEqual(outputs.expected);
  });
});

it('finds the options table of an operator by the schema’s naming, irregular or not', () => {
  const tables = {
    CONV_2D: 'Conv2DOptions',
    L2_NORMALIZATION: 'L2NormOptions',
    STABLEHLO_COMPOSITE: 'StableHLOCompositeOptions',
    REDUCE_WINDOW: 'ReduceWindowOptions',
    RELU: undefined,
  };
  for (const [op, name] of Object.entries(tables)) expect(optionsTable(op)).toBe(name);
});
