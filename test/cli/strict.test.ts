// What a GPU leaves to its WebAssembly twin is told by `coverage` and `compile`, and refused with `--strict`.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { encodeModel, graph, node, value } from '../frontend/onnx-models.js';
import { heddle, temporaryFolder, writeFile } from './heddle.js';

const dir = temporaryFolder();

/** A search among 900 elements, in turn, and more exponentials than a processor should do. */
const model = writeFile(
  join(dir, 'mixed.onnx'),
  encodeModel(
    graph([node('NonZero', ['x'], ['at'], { name: 'search' }), node('Exp', ['z'], ['y'], { name: 'grow' })], {
      input: [value('x', [900]), value('z', [1000, 1000])],
      output: [value('at', [1, 'found'], 7), value('y', [1000, 1000])],
    }),
  ),
);

describe('what the GPU should not run', () => {
  it('has a note in coverage, for that target only', async () => {
    const { out } = await heddle('coverage', model, '--target', 'wasm,webgpu', '--json');
    const [search, grow] = JSON.parse(out).models[0].nodes;
    expect(search.targets.wasm).not.toHaveProperty('note');
    expect(search.targets.webgpu).toMatchObject({
      status: search.targets.wasm.status,
      note: expect.stringMatching(/^runs in the WebAssembly twin: a single invocation of \d+ operations/),
    });
    expect(grow.targets.webgpu).not.toHaveProperty('note');
    expect((await heddle('coverage', model, '--target', 'webgpu')).out).toMatch(
      /search +NonZero +webgpu +\w+ +runs in the WebAssembly twin/,
    );
  });

  it('is listed by compile, which writes the twin', async () => {
    const out = join(dir, 'out');
    const report = JSON.parse((await heddle('compile', model, '--target', 'webgpu', '-o', out, '--json')).out);
    const nodes = report.gpu.twin.kernels.flatMap((k: { nodes: string[] }) => k.nodes);
    expect([...new Set(nodes)]).toEqual(['search']);
    expect(existsSync(join(out, 'model.twin.wasm'))).toBe(true);
  });

  it.each([
    ['compile', '-o', join(dir, 'strict')],
    ['run', '--input', 'random'],
  ])('is an error of %s with --strict', async (command, ...flags) => {
    const { code, err } = await heddle(command, model, '--target', 'webgpu', '--strict', ...flags);
    expect(code).toBe(1);
    expect(err).toMatch(/E301 NonZero: ".*" is nothing for a GPU: a single invocation .*node "search"/);
    expect(existsSync(join(dir, 'strict'))).toBe(false);
  });

  it('is no matter to other targets', async () => {
    expect((await heddle('run', model, '--input', 'random', '--target', 'wasm', '--strict')).code).toBe(0);
  });
});
