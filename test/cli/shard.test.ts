// `--shard i/n` and `coverage merge`: shards together say what one run says.

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { interleave, takeShard } from '../../src/cli/shard.js';
import { f32, heddle, temporaryFolder, writeCase, writeFile } from './heddle.js';
import { custom, scaled } from './models.js';

const dir = temporaryFolder();
const models = ['a', 'b', 'c', 'd', 'e'].map((name, k) =>
  writeFile(join(dir, 'models', `${name}.onnx`), k % 2 ? custom : scaled),
);
for (const [k, name] of ['one', 'two', 'three'].entries())
  writeCase(join(dir, 'cases', name), scaled, [
    { inputs: [f32([1], [k])], outputs: [f32([1], [k === 1 ? 7 : 2 * k])] },
  ]);

/** Runs a command whole and in three shards; gives the whole report and that of the shards merged in another order. */
async function wholeAndMerged(name: string, ...args: readonly string[]): Promise<readonly [unknown, unknown]> {
  const run = async (file: string, ...more: readonly string[]): Promise<string> =>
    writeFile(join(dir, `${name}-${file}.json`), (await heddle(...args, '--json', ...more)).out);
  const whole = (await heddle(...args, '--json')).out;
  const shards = [await run('2', '--shard', '2/3'), await run('3', '--shard', '3/3'), await run('1', '--shard', '1/3')];
  const merged = (await heddle('coverage', 'merge', ...shards, '--json')).out;
  return [JSON.parse(whole), JSON.parse(merged)];
}

describe('shards', () => {
  it.each([1, 2, 3, 5, 8])('of a list, %i of them, make up the list again', (count) => {
    const list = Array.from({ length: 7 }, (_, k) => k);
    const parts = Array.from({ length: count }, (_, k) => {
      const { part, shard } = takeShard(list, `${k + 1}/${count}`);
      return { list: part, shard: shard ?? { index: 0, count: 0, total: 0 } };
    });
    expect(interleave(parts.reverse())).toEqual(list);
    expect(Math.max(...parts.map((p) => p.list.length)) - Math.min(...parts.map((p) => p.list.length))).toBeLessThan(2);
  });

  it('of coverage merge into the report of the whole, operator set included', async () => {
    const [whole, merged] = await wholeAndMerged('coverage', 'coverage', join(dir, 'models'), '--ops', 'tflite');
    expect((whole as { models: unknown[] }).models.length).toBe(models.length);
    expect(merged).toEqual(whole);
  });

  it('of tests merge into the report of the whole, counts included', async () => {
    const [whole, merged] = await wholeAndMerged('test', 'test', join(dir, 'cases'), '--target', 'interp,wasm');
    expect(whole).toMatchObject({ targets: [{ total: 3, passed: 2, failed: 1 }, { total: 3 }] });
    expect(merged).toEqual(whole);
  });

  it('that are not all there, or not of one sweep, are refused', async () => {
    const one = writeFile(join(dir, 'x.json'), (await heddle('coverage', ...models, '--json', '--shard', '1/2')).out);
    const other = writeFile(join(dir, 'y.json'), (await heddle('coverage', ...models, '--json', '--shard', '2/3')).out);
    expect((await heddle('coverage', 'merge', one)).err).toContain('missing: 2/2');
    expect((await heddle('coverage', 'merge', one, one)).err).toContain('twice');
    expect((await heddle('coverage', 'merge', one, other)).err).toContain('one sweep');
    const { code, err } = await heddle('coverage', 'merge', join(dir, 'models', 'a.onnx'));
    expect([code, err]).toEqual([1, expect.stringContaining('E403')]);
    expect((await heddle('coverage', models[0] as string, '--shard', '3/2')).err).toContain('E401');
  });

  it('fail a build under --min once they are merged', async () => {
    const parts = await Promise.all(
      ['1/2', '2/2'].map(async (shard, k) =>
        writeFile(join(dir, `m${k}.json`), (await heddle('coverage', ...models, '--json', '--shard', shard)).out),
      ),
    );
    expect((await heddle('coverage', 'merge', ...parts, '--min', '100')).code).toBe(1);
    expect((await heddle('coverage', 'merge', ...parts, '--min', '50')).code).toBe(0);
  });
});
