// What a small convolutional network costs as C: its arena is what model.h says and close to the largest set of values
// alive at once, and its object code, weights aside, is small. The network has the shape of the MNIST example.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compilerName } from '../../src/backends/c/compiler-node.js';
import { emitC } from '../../src/backends/c/emit.js';
import { importSource, lowerToProgram, readModel } from '../../src/compile.js';
import type { Program } from '../../src/ir/program.js';
import { encodeModel, floats, graph, node, value } from '../frontend/onnx-models.js';
import { sharedData } from '../shared-data.js';

const ints = (name: string, list: number[]) => ({ name, type: 7, ints: list });
const weights = (name: string, dims: number[]) =>
  floats(
    name,
    dims,
    Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, k) => ((k * 37) % 64) / 64 - 0.5),
  );

/** Two rounds of convolution, bias, relu and pooling, then a matrix product: about 6,000 weights. */
function digits(): Uint8Array {
  const same = [ints('kernel_shape', [5, 5]), ints('pads', [2, 2, 2, 2])];
  const pool = (n: number): ReturnType<typeof ints>[] => [ints('kernel_shape', [n, n]), ints('strides', [n, n])];
  return encodeModel(
    graph(
      [
        node('Conv', ['x', 'w1', 'b1'], ['c1'], { attribute: same }),
        node('Relu', ['c1'], ['r1']),
        node('MaxPool', ['r1'], ['p1'], { attribute: pool(2) }),
        node('Conv', ['p1', 'w2', 'b2'], ['c2'], { attribute: same }),
        node('Relu', ['c2'], ['r2']),
        node('MaxPool', ['r2'], ['p2'], { attribute: pool(3) }),
        node('Flatten', ['p2'], ['flat']),
        node('MatMul', ['flat', 'w3'], ['m']),
        node('Add', ['m', 'b3'], ['y']),
      ],
      {
        input: [value('x', [1, 1, 28, 28])],
        output: [value('y', [1, 10])],
        initializer: [
          weights('w1', [8, 1, 5, 5]),
          weights('b1', [8]),
          weights('w2', [16, 8, 5, 5]),
          weights('b2', [16]),
          weights('w3', [256, 10]),
          weights('b3', [10]),
        ],
      },
    ),
  );
}

const compile = (bytes: Uint8Array): Program =>
  lowerToProgram(importSource(readModel(bytes, { file: 'digits.onnx' })), { target: 'c' });

/** Sizes of the sections of the object file, as `size -A` gives them. */
function objectSections(program: Program): Map<string, number> {
  const dir = mkdtempSync(join(tmpdir(), 'heddle-size-'));
  try {
    for (const [name, contents] of Object.entries(emitC(program, { prefix: 'model', weights: 'file' })))
      writeFileSync(join(dir, name), contents);
    execFileSync(compilerName(), ['-std=c99', '-Os', '-c', 'model.c', '-o', 'model.o'], { cwd: dir });
    const lines = execFileSync('size', ['-A', 'model.o'], { cwd: dir, encoding: 'utf8' }).split('\n');
    return new Map(
      lines.map((l) => l.split(/\s+/)).flatMap(([name, n]) => (name && Number(n) > 0 ? [[name, Number(n)]] : [])),
    );
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const LIMIT = 24 * 1024;
const real = sharedData('models/onnx/mnist_8/model.onnx');

const MODELS: readonly (readonly [string, Uint8Array])[] = [
  ['a network of the shape of MNIST', digits()],
  ...(real ? [['the published MNIST model', new Uint8Array(readFileSync(real))] as const] : []),
];

describe.each(MODELS)('%s', (_, bytes) => {
  const program = compile(bytes);

  it('states its arena in model.h, within 1.3 times the largest live set', () => {
    const header = emitC(program, { prefix: 'model' })['model.h'] as string;
    expect(header).toContain(`#define MODEL_ARENA_BYTES ${program.arenaBytes}`);
    expect(header).toContain(`#define MODEL_WEIGHT_BYTES ${program.weightBytes}`);
    expect(program.arenaBytes).toBeGreaterThanOrEqual(program.peak.bytes);
    expect(program.arenaBytes).toBeLessThanOrEqual(1.3 * program.peak.bytes);
  });

  it('is under 24 KB of object code and tables, weights aside', () => {
    const sections = objectSections(program);
    const code = [...sections].filter(([name]) => /^\.(text|rodata|data)/.test(name)).reduce((s, [, n]) => s + n, 0);
    expect(sections.get('.text')).toBeGreaterThan(0);
    expect(code).toBeLessThan(LIMIT);
  });
});
