// `heddle compile`, `run`, `verify`, `inspect`: from a model file to something that runs.

import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { PIPELINE } from '../../src/passes/pipeline.js';
import { readNpy, writeNpy } from '../../src/support/npy.js';
import { API, f32, heddle, temporaryFolder, writeFile } from './heddle.js';
import { custom, lowerPlugin, scaled } from './models.js';

const dir = temporaryFolder();
const model = writeFile(join(dir, 'scaled.onnx'), scaled);
const input = writeFile(join(dir, 'x.npy'), writeNpy(f32([3], [-1, 0.5, 4])));

describe('heddle compile', () => {
  it('writes C that a C compiler accepts, and reports what it came to', async () => {
    const out = join(dir, 'c');
    const { code, out: json } = await heddle(
      'compile',
      model,
      '--target',
      'c',
      '-o',
      out,
      '--dim',
      'n=1..8',
      '--name',
      'twice',
      '--json',
    );
    expect(code).toBe(0);
    const report = JSON.parse(json);
    expect(report.files.map((f: { name: string }) => f.name)).toEqual(expect.arrayContaining(['twice.c', 'twice.h']));
    expect(report.symbols).toEqual([{ name: 'n', lo: 1, hi: 8 }]);
    expect(report.hostOps).toEqual([]);
    execFileSync('gcc', ['-std=c99', '-Wall', '-Wextra', '-Werror', '-c', 'twice.c', '-o', 'twice.o'], { cwd: out });
  });

  it('writes a module that Node can load', async () => {
    const out = join(dir, 'wasm');
    expect((await heddle('convert', model, '--target', 'wasm', '-o', out, '--dim', 'n=1..8')).code).toBe(0);
    expect(readdirSync(out)).toEqual(expect.arrayContaining(['model.mjs', 'model.wasm', 'model.d.ts']));
    const loaded = (await import(pathToFileURL(join(out, 'model.mjs')).href)) as Record<string, unknown>;
    expect(Object.keys(loaded).length).toBeGreaterThan(0);
  });

  it('writes the same bytes each time, also over an earlier artifact', async () => {
    const [a, b] = [join(dir, 'same-a'), join(dir, 'same-b')];
    for (const out of [a, b, b]) await heddle('compile', model, '--target', 'wasm', '-o', out, '--dim', 'n=4');
    for (const name of readdirSync(a)) expect(readFileSync(join(a, name))).toEqual(readFileSync(join(b, name)));
    expect(readdirSync(a)).toEqual(readdirSync(b));
  });

  it('leaves nothing behind when it fails', async () => {
    const out = join(dir, 'none');
    const { code, err } = await heddle(
      'compile',
      writeFile(join(dir, 'custom.onnx'), custom),
      '--target',
      'c',
      '-o',
      out,
    );
    expect(code).toBe(1);
    expect(err).toMatch(/^E201 Gizmo: .*node "the_gizmo" \(operator 0\)/);
    expect(existsSync(out)).toBe(false);
    expect(readdirSync(dir).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  it('asks for a bound where a size is open', async () => {
    const { code, err } = await heddle('compile', model, '--target', 'c', '-o', join(dir, 'open'));
    expect(code).toBe(1);
    expect(err).toContain('E205');
    expect(err).toContain('--dim');
  });
});

describe('heddle opt', () => {
  it('reads what compile prints and goes on from there', async () => {
    const flags = [model, '--target', 'c', '--dim', 'n=1..8'];
    const imported = await heddle('compile', ...flags, '--stop-after', 'import');
    const fused = await heddle('compile', ...flags, '--stop-after', 'fuse');
    expect([imported.code, fused.code]).toEqual([0, 0]);
    const file = writeFile(join(dir, 'scaled.ir'), imported.out);
    expect((await heddle('opt', file)).out).toBe(imported.out);
    const names = PIPELINE.map((pass) => pass.name);
    const _passes = names.slice(0, names.indexOf('fuse') + 1).join(',');
    const { code, out, err } = await heddle(
      'opt',
      file,
      '--passes',
      'dead-code,cse,fold,fuse',
      '--dump-ir',
      'after:cse',
    );
    expect([code, out]).toEqual([0, fused.out]);
    expect(err).toMatch(/^\/\/ after cse\nmodule /);
  });

  it('names what is wrong with a text or a pass', async () => {
    const { code, err } = await heddle('opt', writeFile(join(dir, 'bad.ir'), 'module nonsense'));
    expect([code, err.slice(0, 4)]).toEqual([1, 'E405']);
    expect((await heddle('opt', 'x.ir', '--passes', 'magic')).err).toContain('there is no pass "magic"');
  });
});

describe('heddle run', () => {
  it('gives the same answer on every target', async () => {
    for (const target of ['interp', 'c', 'wasm']) {
      const saved = join(dir, `out-${target}`);
      const { code } = await heddle('run', model, '--target', target, '--input', `x=${input}`, '--output-dir', saved);
      expect(code).toBe(0);
      expect(Array.from(readNpy(readFileSync(join(saved, 'y.npy'))).data as Float32Array)).toEqual([0, 1, 8]);
    }
  });

  it('runs an operator that a plugin lowers', async () => {
    const plugin = writeFile(join(dir, 'lower.mjs'), lowerPlugin(API));
    const file = writeFile(join(dir, 'custom.onnx'), custom);
    const x = writeFile(join(dir, 'four.npy'), writeNpy(f32([4], [-3, 0, 1, 2])));
    const { out } = await heddle('run', file, '--input', `x=${x}`, '--plugin', plugin, '--target', 'wasm', '--json');
    expect(JSON.parse(out).outputs).toMatchObject([{ name: 'y', dtype: 'f32', shape: [4], first: [0, 1, 2, 3] }]);
  });

  it('lists the inputs where one is missing', async () => {
    const { code, err } = await heddle('run', model);
    expect(code).toBe(1);
    expect(err).toContain('input "x" is not given');
    expect(err).toContain('x: f32[n]');
  });
});

describe('heddle verify', () => {
  it('compares every named value with the interpreter', async () => {
    const { code, out } = await heddle('verify', model, '--dim', 'n=5', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(out).targets).toMatchObject([
      { target: 'c', agrees: true, first: null, compared: 2 },
      { target: 'wasm', agrees: true, first: null, compared: 2 },
    ]);
  });
});

describe('heddle inspect', () => {
  it('shows inputs, operators, weights and open sizes', async () => {
    const { code, out } = await heddle('inspect', model, '--json');
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      format: 'onnx',
      inputs: [{ name: 'x', type: 'f32[n]' }],
      symbols: ['n'],
      nodes: 2,
      parameters: 1,
      weights: [{ dtype: 'f32', tensors: 1, elements: 1, bytes: 4 }],
    });
  });
});

describe('heddle', () => {
  it('exits 1 on unknown commands and flags, with a word on stderr and nothing on stdout', async () => {
    for (const args of [
      [],
      ['frobnicate'],
      ['inspect', model, '--frobnicate'],
      ['inspect'],
      ['inspect', 'missing.onnx'],
    ]) {
      const { code, out, err } = await heddle(...args);
      expect([args, code, out]).toEqual([args, 1, '']);
      expect(err).not.toContain('    at ');
    }
  });

  it('names what is wrong with a flag', async () => {
    const { err } = await heddle('inspect', model, '--dim', 'n=many');
    expect(err).toContain('E401 --dim n=many is not understood. Write --dim name=8 or --dim name=1..1500');
    const missing = await heddle('inspect', model, '--plugin', join(dir, 'missing.mjs'));
    expect(missing.err).toContain('cannot be loaded');
    expect(missing.code).toBe(1);
  });

  it('knows its version', async () => {
    expect((await heddle('--version')).out.trim()).toMatch(/^\d+\.\d+\.\d+$/);
  });
});
