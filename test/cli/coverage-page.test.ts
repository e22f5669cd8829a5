// The HTML report: one file that loads nothing, holds what the JSON holds, escapes what models bring, and filters in a browser.

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { encodeModel, floats, graph, node, value } from '../frontend/onnx-models.js';
import { API, heddle, temporaryFolder, writeFile } from './heddle.js';
import { referencePlugin, scaled } from './models.js';

const HOSTILE = `"><img src=x onerror="document.title='taken'"></script><script>document.title='taken'</script>&amp;\u0000`;

/** A matrix product, an operator nobody knows with a name that wants to be markup, and one that only a host runs. */
const hostile = encodeModel(
  graph(
    [
      node('MatMul', ['x', 'w'], ['a'], { name: 'project' }),
      node('Gizmo', ['a'], ['b'], { name: 'the_gizmo', domain: 'test.custom' }),
      node('</td><b>Nobody</b>', ['b'], ['y'], { name: HOSTILE, domain: 'test.custom' }),
    ],
    {
      input: [value('x', [3, 4])],
      output: [value('y', [3, 5])],
      initializer: [floats('w', [4, 5], Array(20).fill(1))],
    },
  ),
  {
    opset_import: [
      { domain: '', version: 21 },
      { domain: 'test.custom', version: 1 },
    ],
  },
);

/** Rows of 4 times 4 × 5. */
const product = encodeModel(
  graph([node('MatMul', ['x', 'w'], ['y'], { name: 'project' })], {
    input: [value('x', ['n', 4])],
    output: [value('y', ['n', 5])],
    initializer: [floats('w', [4, 5], Array(20).fill(1))],
  }),
);

const dir = temporaryFolder();
const files = [
  writeFile(join(dir, 'hostile.onnx'), hostile),
  writeFile(join(dir, 'scaled.onnx'), scaled),
  writeFile(join(dir, 'product.onnx'), product),
  writeFile(join(dir, 'broken.onnx'), 'no model'),
];
const plugin = writeFile(join(dir, 'reference.mjs'), referencePlugin(API));

async function makePage(...args: readonly string[]): Promise<string> {
  const { out, err } = await heddle('coverage', ...files, '--plugin', plugin, '--format', 'html', ...args);
  expect(err).toBe('');
  return out;
}

const rowsOf = (page: string): readonly string[] => page.match(/<tr data-s.*?<\/tr>/gs) ?? [];

describe('the coverage page', () => {
  it('is one file that loads nothing', async () => {
    const page = await makePage('--ops', 'onnx');
    expect(page).toMatch(/^<!doctype html>/);
    const tags = (page.match(/<[^>]*>/g) ?? []).join('\n');
    expect(tags).not.toMatch(/<(?:link|iframe|img|object|embed|base|form)\b|\s(?:src|href|action|on\w+)\s*=/i);
    expect(page).not.toMatch(/@import|url\(|\bfetch\(|\bimport\(/i);
    expect(page).toContain(`content="default-src 'none'`);
    expect(page.match(/<script>/g)?.length).toBe(1);
    for (const tag of ['section', 'table', 'tbody', 'tr', 'td', 'details'])
      expect(page.match(new RegExp(`<${tag}[ >]`, 'g'))?.length, tag).toBe(
        page.match(new RegExp(`</${tag}>`, 'g'))?.length,
      );
  });

  it('says of each gap the model, the node, the reason and what to do', async () => {
    const rows = rowsOf(await makePage());
    const gizmo = rows.find((r) => r.includes('the_gizmo'));
    for (const text of ['hostile.onnx', 'test.custom:Gizmo', 'wasm', 'host', '`lower`']) expect(gizmo).toContain(text);
    const broken = rows.find((r) => r.includes('broken.onnx'));
    expect(broken).toContain('E102');
    const nobody = rows.find((r) => r.includes('E201'));
    expect(nobody).toContain('data-s="interp:unsupported c:unsupported wasm:unsupported"');
    expect(nobody).toContain('--plugin');
  });

  it('has work and sizes for each operator', async () => {
    const page = await makePage();
    const box = page.slice(page.indexOf(`<details data-model="${files[2]}`));
    const mul = rowsOf(box).find((r) => r.includes('<td>MatMul</td>'));
    const [, count, macs, weights, outputs] =
      /data-n="(\d+)".*?data-n="(\d+)".*?data-n="(\d+)".*?data-n="(\d+)"/s.exec(mul ?? '') ?? [];
    // 256 rows, as long as nobody says more.
    expect([count, macs, weights, outputs].map(Number)).toEqual([1, 256 * 4 * 5, 4 * 4 * 5, 4 * 256 * 5]);
    expect(page).toContain('n 1..256');
  });

  it('shows what a model brings as text, never as markup', async () => {
    const page = await makePage();
    expect(page).not.toContain('<img');
    expect(page).not.toContain('<b>Nobody');
    expect(page).toContain('&quot;&gt;&lt;img src=x onerror=&quot;');
    expect(page).not.toContain('\u0000');
  });

  const browser = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
  if (!browser) console.warn('skipped: no Chromium here, so the page is not run');

  /** The page's markup once its script has run. */
  const open = (path: string, query: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const flags = [
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        `--user-data-dir=${join(dir, 'profile')}`,
        '--dump-dom',
      ];
      execFile(
        browser as string,
        [...flags, `${pathToFileURL(path)}#${query}`],
        { maxBuffer: 2 ** 26 },
        (error, out) => (error ? reject(error) : resolve(out)),
      );
    });

  it.skipIf(!browser)('filters by words, target and status in a browser, and runs no script but its own', async () => {
    const path = writeFile(join(dir, 'page.html'), await makePage());
    const shown = (dom: string): readonly string[] => rowsOf(dom).filter((r) => !/^<tr [^>]*hidden/.test(r));
    const all = await open(path, '');
    expect(all).toContain('<title>heddle coverage</title>');
    expect(shown(all).length).toBe(rowsOf(all).length);
    expect(all).not.toMatch(/class="controls" hidden/);
    const host = shown(await open(path, 'target=wasm&status=host'));
    expect(host.length).toBeGreaterThan(1);
    expect(host.every((r) => /data-s="[^"]*wasm:host/.test(r))).toBe(true);
    const words = shown(await open(path, 'find=GIZMO+hostile'));
    expect(words.length).toBeGreaterThan(0);
    expect(words.every((r) => r.includes('Gizmo'))).toBe(true);
    const none = await open(path, 'find=nothing-like-it');
    expect(shown(none)).toEqual([]);
    expect(none).toContain('0 of ');
  });
});
