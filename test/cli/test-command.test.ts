// `heddle test`: cases in the ONNX backend-test layout, judged on every target.

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { encodeModel, encodeTensor, floats, graph, node, value } from '../frontend/onnx-models.js';
import { API, f32, heddle, temporaryFolder, writeCase, writeFile } from './heddle.js';
import { custom, endlessPlugin, referencePlugin, scaled } from './models.js';

const dir = temporaryFolder();
const suite = join(dir, 'suite');
const good = { inputs: [f32([3], [-1, 0.5, Number.NaN])], outputs: [f32([3], [0, 1, Number.NaN])] };
const longer = { inputs: [f32([5], [1, 2, 3, 4, 5])], outputs: [f32([5], [2, 4, 6, 8, 10])] };
const wrong = { inputs: [f32([2], [1, 2])], outputs: [f32([2], [2, 4.5])] };
const gizmo = { inputs: [f32([4], [-3, 0, 1, 2])], outputs: [f32([4], [0, 1, 2, 3])] };
writeCase(join(suite, 'group', 'good'), scaled, [good, longer]);
writeCase(join(suite, 'wrong'), scaled, [wrong]);
writeCase(join(suite, 'tolerant'), scaled, [wrong], { outputs: [{ rtol: 0.2, atol: 0 }] });
writeCase(join(suite, 'masked'), scaled, [wrong], { mask: { 0: [0, 1] } });
writeCase(join(suite, 'shape'), scaled, [{ ...wrong, outputs: [f32([1, 2], [2, 4])] }]);
writeCase(join(suite, 'custom'), custom, [gizmo]);

interface Case {
  readonly name: string;
  readonly status: string;
  readonly reason: string;
  readonly hostOps: readonly string[];
}

async function run(
  ...args: string[]
): Promise<{ code: number; targets: Record<string, Record<string, Case>>; raw: never }> {
  const { code, out } = await heddle('test', ...args, '--json');
  const raw = JSON.parse(out);
  const targets = Object.fromEntries(
    raw.targets.map((t: { target: string; cases: Case[] }) => [
      t.target,
      Object.fromEntries(t.cases.map((c) => [c.name, c])),
    ]),
  );
  return { code, targets, raw: raw as never };
}

describe('heddle test', () => {
  it('tells passed, failed and unsupported apart on every target', async () => {
    const { code, targets, raw } = await run(suite, '--target', 'interp', 'c', 'wasm');
    expect(code).toBe(1);
    for (const target of ['interp', 'c', 'wasm']) {
      const cases = targets[target] ?? {};
      expect(Object.fromEntries(Object.entries(cases).map(([name, c]) => [name, c.status]))).toEqual({
        custom: 'unsupported',
        'group/good': 'passed',
        masked: 'passed',
        shape: 'failed',
        tolerant: 'passed',
        wrong: 'failed',
      });
      expect(cases.wrong?.reason).toContain(
        'max abs error 0.5, max rel error 0.111, first at [1]: got 4, expected 4.5',
      );
      expect(cases.shape?.reason).toContain('shape is [2], expected [1, 2]');
      expect(cases.custom?.reason).toMatch(/^E201 Gizmo: .*node "the_gizmo"/);
    }
    expect(raw).toMatchObject({
      targets: [{ target: 'interp', total: 6, passed: 3, failed: 2, unsupported: 1, host: 0 }, {}, {}],
    });
  });

  it('takes models with their outputs beside them, and the k-th of n inputs for k / n', async () => {
    const folder = join(dir, 'flat');
    const doubled = encodeModel(
      graph([node('Add', ['x', 'x'], ['y'])], { input: [value('x', [2, 2])], output: [value('y', [2, 2])] }),
    );
    writeFile(join(folder, 'right.onnx'), doubled);
    writeFile(join(folder, 'right_output_0.pb'), encodeTensor(floats('y', [2, 2], [0, 0.5, 1, 1.5])));
    writeFile(join(folder, 'wrong.onnx'), doubled);
    writeFile(join(folder, 'wrong_output_0.pb'), encodeTensor(floats('y', [2, 2], [0, 0.5, 1, 2])));
    writeFile(join(folder, 'other.onnx'), doubled);
    writeFile(join(folder, 'left_out.onnx'), doubled);
    writeFile(join(folder, 'left_out_output_0.pb'), encodeTensor(floats('y', [1], [7])));
    writeFile(join(folder, 'manifest.json'), JSON.stringify({ tests: { left_out: { exclude: 'of no use' } } }));
    const { code, targets } = await run(folder, '--target', 'interp', 'wasm');
    expect(code).toBe(1);
    for (const target of ['interp', 'wasm'])
      expect(Object.values(targets[target] ?? {}).map((c) => [c.name, c.status])).toEqual([
        ['right', 'passed'],
        ['wrong', 'failed'],
      ]);
  });

  it('leaves out what the manifest of a suite excludes, and says why', async () => {
    const folder = join(dir, 'flagged');
    writeCase(join(folder, 'cases', 'good'), scaled, [good]);
    writeCase(join(folder, 'cases', 'drawn'), scaled, [wrong]);
    const tests = { 'cases/good': {}, 'cases/drawn': { numpy_rng: true } };
    writeFile(join(folder, 'manifest.json'), JSON.stringify({ tests }));
    const { code, raw } = await run(join(folder, 'cases'), '--target', 'interp');
    expect(code).toBe(0);
    expect(raw).toMatchObject({
      excluded: [{ name: 'drawn', reason: expect.stringContaining('NumPy') }],
      targets: [{ total: 1, passed: 1 }],
    });
  });

  it('counts cases that needed a host op', async () => {
    const plugin = writeFile(join(dir, 'reference.mjs'), referencePlugin(API));
    const { code, targets, raw } = await run(join(suite, 'custom'), '--target', 'interp,wasm,c', '--plugin', plugin);
    expect(code).toBe(0);
    expect(targets.interp?.custom).toMatchObject({ status: 'passed', reason: '', hostOps: ['gizmo'] });
    expect(targets.wasm?.custom).toMatchObject({ status: 'passed', hostOps: ['gizmo'] });
    expect(targets.c?.custom).toMatchObject({ status: 'passed', hostOps: ['gizmo'] });
    expect(raw).toMatchObject({ targets: [{ host: 1 }, { host: 1 }, { host: 1 }] });
  });

  it('gives up on a case that never ends and goes on with the others', async () => {
    const plugin = writeFile(join(dir, 'endless.mjs'), endlessPlugin(API));
    const { targets } = await run(
      suite,
      '--filter',
      'custom|good|masked',
      '--plugin',
      plugin,
      '--timeout',
      '1',
      '--jobs',
      '1',
    );
    expect(targets.interp?.custom).toMatchObject({
      status: 'failed',
      reason: expect.stringMatching(/no answer within/),
    });
    expect(targets.interp?.['group/good']?.status).toBe('passed');
    expect(targets.interp?.masked?.status).toBe('passed');
  });

  it('decides the exit code by --min and --allow-unsupported', async () => {
    expect((await heddle('test', suite, '--min', '3')).code).toBe(0);
    expect((await heddle('test', suite, '--min', '50%')).code).toBe(0);
    expect((await heddle('test', suite, '--min', '4')).code).toBe(1);
    expect((await heddle('test', suite, '--filter', 'good|custom')).code).toBe(1);
    expect((await heddle('test', suite, '--filter', 'good|custom', '--allow-unsupported')).code).toBe(0);
  });

  it('reads inputs and outputs from .pb files', async () => {
    const folder = writeCase(join(dir, 'pb'), scaled, []);
    writeFile(join(folder, 'test_data_set_0', 'input_0.pb'), encodeTensor(floats('x', [2], [1, -1])));
    writeFile(join(folder, 'test_data_set_0', 'output_0.pb'), encodeTensor(floats('y', [2], [2, 0])));
    expect((await heddle('test', folder)).code).toBe(0);
  });

  it('says where it found no cases', async () => {
    const { code, err } = await heddle('test', suite, '--filter', 'nothing');
    expect(code).toBe(1);
    expect(err).toContain('E401 no test cases');
  });
});
