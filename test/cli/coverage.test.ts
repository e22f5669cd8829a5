// `heddle coverage`, and what plugins change about it.

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { encodeModel, floats, graph, node, value } from '../frontend/onnx-models.js';
import { API, heddle, temporaryFolder, writeFile } from './heddle.js';
import { custom, lowerPlugin, referencePlugin, scaled } from './models.js';

const dir = temporaryFolder();
const model = writeFile(join(dir, 'custom.onnx'), custom);
const good = writeFile(join(dir, 'scaled.onnx'), scaled);
const lower = writeFile(join(dir, 'lower.mjs'), lowerPlugin(API));
const reference = writeFile(join(dir, 'reference.mjs'), referencePlugin(API));

interface NodeReport {
  readonly node: string;
  readonly op: string;
  readonly targets: Record<string, { status: string; reason: string; advice: string }>;
}

async function cover(...args: string[]): Promise<{ nodes: readonly NodeReport[]; percent: Record<string, number> }> {
  const { out, err } = await heddle('coverage', model, '--json', ...args);
  expect(err).toBe('');
  return JSON.parse(out).models[0];
}

const statuses = (n: NodeReport | undefined): Record<string, string> =>
  Object.fromEntries(Object.entries(n?.targets ?? {}).map(([target, c]) => [target, c.status]));

describe('heddle coverage', () => {
  it('names an unknown operator, why it does not compile and what to do, and still looks at the rest', async () => {
    const { nodes, percent } = await cover();
    expect(nodes.map((n) => n.node)).toEqual(['the_gizmo', 'clip']);
    const gizmo = nodes[0]?.targets.c;
    expect(gizmo).toMatchObject({ status: 'unsupported', reason: expect.stringContaining('test.custom:Gizmo') });
    expect(gizmo?.advice).toContain('--plugin');
    expect(nodes[1]?.targets.c?.status).toBe('compiled');
    expect(percent).toEqual({ interp: 50, c: 50, wasm: 50 });
  });

  it('fails a build under --min, and only then', async () => {
    expect((await heddle('coverage', model, '--min', '100')).code).toBe(1);
    expect((await heddle('coverage', model, '--min', '50')).code).toBe(0);
    expect((await heddle('coverage', good, '--dim', 'n=1..8', '--min', '100')).code).toBe(0);
  });

  it('reports all models of one run, unreadable ones too', async () => {
    const broken = writeFile(join(dir, 'broken.onnx'), 'not a model');
    const { out } = await heddle('coverage', broken, model, '--format', 'md');
    expect(out).toContain(`## ${broken}: 0 nodes`);
    expect(out).toContain('E102');
    expect(out).toContain('| the_gizmo | test.custom:Gizmo | interp, c, wasm | unsupported |');
  });

  it('counts an operator compiled by a plugin with `lower`', async () => {
    const { nodes, percent } = await cover('--plugin', lower);
    expect(statuses(nodes[0])).toEqual({ interp: 'compiled', c: 'compiled', wasm: 'compiled' });
    expect(percent).toEqual({ interp: 100, c: 100, wasm: 100 });
  });

  it('says host where a plugin has only a `reference`, and that C has none', async () => {
    const { nodes, percent } = await cover('--plugin', reference);
    expect(statuses(nodes[0])).toEqual({ interp: 'host', c: 'unsupported', wasm: 'host' });
    expect(nodes[0]?.targets.c?.reason).toContain('host');
    expect(percent).toEqual({ interp: 100, c: 50, wasm: 100 });
  });

  it('lists the whole operator set of a format', async () => {
    const onnx = JSON.parse((await heddle('coverage', '--ops', 'onnx', '--json')).out);
    expect(onnx.operators.find((o: { op: string }) => o.op === 'Relu')).toMatchObject({
      status: { interp: 'compiled', c: 'compiled', wasm: 'compiled' },
      missing: [],
    });
    const tflite = JSON.parse((await heddle('coverage', '--ops', 'tflite', '--json')).out);
    expect(tflite.operators.length).toBeGreaterThanOrEqual(200);
  });

  it('chooses bounds for open sizes that make shapes fit, and says which', async () => {
    const wide = encodeModel(
      graph([node('Conv', ['x', 'w'], ['y'], { name: 'wide' })], {
        input: [value('x', ['batch', 1, 'samples'])],
        output: [value('y', ['batch', 1, 'frames'])],
        initializer: [floats('w', [1, 1, 512], Array(512).fill(1))],
      }),
    );
    const path = writeFile(join(dir, 'wide.onnx'), wide);
    const [found] = JSON.parse((await heddle('coverage', path, '--json', '--min', '100')).out).models;
    expect(found).toMatchObject({ percent: { c: 100 }, assumed: { batch: '1..8', samples: '1..32768' }, problems: [] });
    const given = await heddle('coverage', path, '--json', '--dim', 'samples=1..100', '--min', '100');
    expect(given.code).toBe(1);
    expect(JSON.parse(given.out).models[0].nodes[0].targets.c.reason).toContain('E204');
  });

  it('counts the tests that use each operator and version', async () => {
    const test = (name: string, status: string, ...ops: string[]): object => ({
      name,
      status,
      reason: '',
      hostOps: [],
      ops,
    });
    const cases = [test('a', 'passed', 'ai.onnx:Relu@14'), test('b', 'failed', 'ai.onnx:Relu@14', 'ai.onnx:Relu@6')];
    const results = writeFile(join(dir, 'results.json'), JSON.stringify({ targets: [{ target: 'c', cases }] }));
    const { out } = await heddle('coverage', '--ops', 'onnx', '--results', results, '--json');
    const relu = JSON.parse(out).operators.find((o: { op: string }) => o.op === 'Relu');
    expect(relu.tests).toEqual({ c: { passed: 1, total: 2 } });
    const tests = Object.fromEntries(
      relu.versions.map((v: { version: number; tests: object }) => [v.version, v.tests]),
    );
    expect(tests).toMatchObject({ 1: {}, 6: { c: { passed: 0, total: 1 } }, 14: { c: { passed: 1, total: 2 } } });
    expect((await heddle('coverage', '--ops', 'onnx', '--results', results)).out).toMatch(/^Relu .* 1\/2 /m);
  });
});
