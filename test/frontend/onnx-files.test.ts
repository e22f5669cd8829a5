// The ONNX reader on real files: every model and test datum of the shared collections, agreement with another decoder,
// and seeded mutations of one file, none of which may do anything but read or raise a CompileError.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { onnx as otherOnnx } from 'onnx-proto';
import { describe, expect, it } from 'vitest';
import { readOnnx } from '../../src/frontend/onnx/read.js';
import { readTensorProto, readValueProto } from '../../src/frontend/onnx/tensor-proto.js';
import type { SourceGraph, SourceModel, SourceType } from '../../src/frontend/source.js';
import { CompileError } from '../../src/support/errors.js';
import { sizeOf } from '../../src/support/tensor.js';
import { filesBelow, sharedData } from '../shared-data.js';
import { encodeModel, floatAttr, floats, graph, node } from './onnx-models.js';

const suites = [sharedData('models/onnx'), sharedData('conformance/onnx')].filter((dir) => dir !== null);
const models = suites.flatMap((dir) => filesBelow(dir, 'model.onnx'));

const readFile = (file: string): SourceModel =>
  readOnnx(readFileSync(file), { file, external: (location) => readFileSync(join(dirname(file), location)) });

/** Reads every constant, those of subgraphs included, and returns their number. */
function readConstants(g: SourceGraph): number {
  let count = 0;
  for (const lazy of g.initializers.values()) {
    const { data, shape } = lazy.read();
    if (data.length !== sizeOf(shape)) throw new Error(`${data.length} elements for [${shape}]`);
    count++;
  }
  for (const { attrs } of g.nodes) {
    for (const attr of attrs.values()) {
      if (attr.kind === 'graph') count += readConstants(attr.value);
      if (attr.kind === 'graphs') for (const inner of attr.value) count += readConstants(inner);
    }
  }
  return count;
}

describe.skipIf(models.length === 0)('every model of the collections', () => {
  it('reads, with all its constants', () => {
    const problems: string[] = [];
    for (const file of models) {
      try {
        for (const g of readFile(file).graphs) readConstants(g);
      } catch (error) {
        problems.push(`${file}: ${error}`);
      }
    }
    expect(problems).toEqual([]);
  });

  it('agrees with onnx-proto on nodes, names and initializers', () => {
    for (const file of filesBelow(suites[0] ?? '', 'model.onnx')) {
      const bytes = readFileSync(file);
      const other = otherOnnx.ModelProto.decode(bytes).graph;
      const [mine] = readFile(file).graphs;
      const names = (list: readonly { readonly inputs: readonly string[]; readonly outputs: readonly string[] }[]) =>
        new Set(list.map((n) => `${n.inputs} → ${n.outputs}`));
      const others = (other?.node ?? []).map((n) => ({ inputs: n.input ?? [], outputs: n.output ?? [] }));
      expect(names(mine?.nodes ?? [])).toEqual(names(others));
      for (const tensor of other?.initializer ?? []) {
        const lazy = mine?.initializers.get(tensor.name ?? '');
        expect(lazy?.shape.length).toBe((tensor.dims ?? []).length);
        expect([...(lazy?.shape ?? [])]).toEqual((tensor.dims ?? []).map(Number));
        const data = lazy?.read().data;
        if (tensor.rawData?.length && data && 'buffer' in data) {
          const view = Buffer.from(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
          if (view.length === tensor.rawData.length) expect(view.equals(tensor.rawData)).toBe(true);
        }
      }
    }
  });

  it('reads a model of megabytes in a fraction of a second', () => {
    const largest = models.map((file) => readFileSync(file)).sort((a, b) => b.length - a.length)[0];
    if (!largest) throw new Error('no model');
    const start = performance.now();
    readOnnx(largest, { file: 'largest' });
    expect(performance.now() - start).toBeLessThan(1000);
  });

  it('reads the test data beside each model as its inputs and outputs declare', () => {
    const problems: string[] = [];
    for (const file of models) {
      const [main] = readFile(file).graphs;
      for (const set of readdirSync(dirname(file)).filter((name) => name.startsWith('test_data_set_'))) {
        for (const name of readdirSync(join(dirname(file), set)).filter((n) => n.endsWith('.pb'))) {
          const index = Number(/\d+/.exec(name)?.[0]);
          const values = name.startsWith('input') ? main?.inputs : main?.outputs;
          const path = join(dirname(file), set, name);
          try {
            checkValue(readFileSync(path), path, values?.[index]?.type ?? { kind: 'unknown' });
          } catch (error) {
            problems.push(`${path}: ${error}`);
          }
        }
      }
    }
    expect(problems).toEqual([]);
  });
});

function checkValue(bytes: Uint8Array, path: string, type: SourceType): void {
  const value = readValueProto(bytes, path, type);
  if (type.kind === 'tensor' && value.kind === 'tensor') {
    if (value.tensor.dtype !== type.dtype) throw new Error(`is ${value.tensor.dtype}, declared ${type.dtype}`);
    if (value.tensor.data.length !== sizeOf(value.tensor.shape)) throw new Error('size');
  }
}

/** mulberry32: a small seeded generator. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function mutate(original: Uint8Array, random: () => number): Uint8Array {
  const at = (length: number): number => Math.floor(random() * length);
  const kind = at(5);
  if (kind === 0) return original.slice(0, at(original.length));
  const bytes = original.slice();
  const hits = 1 + at(8);
  for (let i = 0; i < hits; i++) {
    // Structure is dense at both ends of a file; the middle is mostly weights.
    const span = random() < 0.5 ? Math.min(2000, bytes.length) : bytes.length;
    const where = random() < 0.5 ? at(span) : bytes.length - 1 - at(span);
    if (kind === 1) bytes[where] = (bytes[where] ?? 0) ^ (1 << at(8));
    else if (kind === 2) bytes[where] = at(256);
    else if (kind === 3) bytes.set([0xff, 0xff, 0xff, 0xff, 0x0f].slice(0, bytes.length - where), where);
    else bytes.copyWithin(where, at(bytes.length), at(bytes.length));
  }
  return bytes;
}

describe('mutated files', () => {
  const mnist = models.find((file) => file.includes('mnist'));
  const built = encodeModel(
    graph([node('Add', ['x', 'w'], ['s']), node('Elu', ['s'], ['y'], { attribute: [floatAttr('alpha', 1)] })], {
      initializer: [floats('w', [2], [1, 2])],
    }),
  );

  it('read or raise a CompileError, quickly', () => {
    const seed = 20_240_607;
    const random = randomFrom(seed);
    const original = mnist ? new Uint8Array(readFileSync(mnist)) : built;
    const codes = new Map<string, number>();
    for (let i = 0; i < 700; i++) {
      const bytes = mutate(original, random);
      const start = performance.now();
      let code = 'read';
      try {
        for (const g of readOnnx(bytes, { file: 'mutated' }).graphs) readConstants(g);
      } catch (error) {
        if (!(error instanceof CompileError)) throw new Error(`seed ${seed}, mutation ${i}`, { cause: error });
        code = error.problems[0]?.code ?? '';
      }
      codes.set(code, (codes.get(code) ?? 0) + 1);
      expect(performance.now() - start, `seed ${seed}, mutation ${i}`).toBeLessThan(2000);
    }
    const known = new Set(['read', 'E102', 'E103', 'E104', 'E105', 'E206']);
    expect([...codes.keys()].filter((code) => !known.has(code))).toEqual([]);
    expect(codes.get('E103')).toBeGreaterThan(50);
  });

  it('of test data do the same', () => {
    const random = randomFrom(7);
    const tensor = Uint8Array.of(8, 2, 16, 1, 74, 8, 0, 0, 128, 63, 0, 0, 0, 64);
    expect(readTensorProto(tensor, 't.pb').data).toEqual(Float32Array.of(1, 2));
    for (let i = 0; i < 700; i++) {
      const bytes = mutate(tensor, random);
      for (const kind of ['tensor', 'sequence', 'optional', 'map'] as const) {
        try {
          readValueProto(bytes, 't.pb', kind);
        } catch (error) {
          expect(error).toBeInstanceOf(CompileError);
        }
      }
    }
  });
});
