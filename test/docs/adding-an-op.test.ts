// docs/adding-an-op.md does what it says: its plugins are written to files and its commands run, in order.

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { writeNpy } from '../../src/support/npy.js';
import { f32, writeFile } from '../cli/heddle.js';
import { commandsOf, layOut, readPage, shell } from './documentation.js';

const page = readPage('docs/adding-an-op.md');
const dir = layOut(page);
const TRUTH_TABLE = f32([4, 2], [0, 0, 0, 1, 1, 0, 1, 1]);
const input = writeFile(join(dir, 'table.npy'), writeNpy(TRUTH_TABLE));

async function run(model: string, plugin: string, target: string): Promise<unknown> {
  const command = `npx heddle run ${model} --plugin ${plugin} --input x=${input} --target ${target} --json`;
  const { code, out, err } = await shell(command, dir);
  expect([code, err]).toEqual([0, code === 0 ? err : '']);
  return (JSON.parse(out) as { outputs: { first: number[] }[] }).outputs[0]?.first;
}

describe('docs/adding-an-op.md', () => {
  for (const command of commandsOf(page)) {
    it(command, async () => {
      const { code, err } = await shell(command, dir);
      expect([code, err]).toEqual([0, code === 0 ? err : '']);
    });
  }

  it('lowers an operator that computes the same on every target', async () => {
    for (const target of ['interp', 'c', 'wasm'])
      expect(await run('clipped.onnx', 'clipped-relu.mjs', target)).toEqual([0, 1, 1, 0]);
  });

  it('runs a loop program on every target', async () => {
    for (const target of ['interp', 'c', 'wasm'])
      expect(await run('sorted.onnx', 'sort-rows.mjs', target)).toEqual([-1, -2, -2, -3]);
  });

  it('calls a host function where there is a host, and says where there is none', async () => {
    for (const target of ['interp', 'wasm'])
      expect(await run('calibrated.onnx', 'calibrate.mjs', target)).toEqual([0.25, 1.25, 1.25, 0.25]);
    const refused = await shell(
      'npx heddle compile calibrated.onnx --plugin calibrate.mjs --dim n=4 --target c -o c',
      dir,
    );
    expect(refused.code).toBe(1);
    expect(refused.err).toContain('E301');
    const covered = await shell('npx heddle coverage calibrated.onnx --plugin calibrate.mjs --dim n=4 --json', dir);
    expect(covered.out).toContain('"host"');
  });
});
