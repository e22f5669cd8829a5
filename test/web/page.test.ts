// The example page in headless Chromium, as a visitor uses it: real models, a picture and a recording, both backends.

import type { Browser, Page, Worker } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import wavefile from 'wavefile';
import { findChromium, openChromium } from './chromium.js';
import { openSite, type Site } from './site.js';

const MINUTES = 60_000;
const program = findChromium();

let site: Site | null = null;
const browsers = new Map<string, Promise<Browser>>();
const browser = (webgpu: 'software' | 'none'): Promise<Browser> => {
  const known = browsers.get(webgpu) ?? openChromium(program as string, webgpu);
  browsers.set(webgpu, known);
  return known;
};
const faults: string[] = [];

beforeAll(async () => {
  if (program) site = await openSite();
}, 10 * MINUTES);
afterAll(async () => {
  for (const b of browsers.values()) await (await b).close();
  site?.close();
});
afterEach(() => expect(faults.splice(0)).toEqual([]));

/** Skipped at run time where there is no site: only the build knows. */
const step = (name: string, body: (site: Site) => Promise<void>): void =>
  it(name, { timeout: 5 * MINUTES }, async ({ skip }) => (site ? body(site) : skip('no models')));

async function visit({ url }: Site, webgpu: 'software' | 'none' = 'software'): Promise<Page> {
  const page = await (await browser(webgpu)).newPage();
  page.on('pageerror', (e) => faults.push(e.message));
  page.on('console', (m) => m.type() === 'error' && faults.push(m.text()));
  await page.goto(url);
  await page.getByText(/^Adapter: |run as WebAssembly instead/).waitFor();
  return page;
}

type Part = 'Read a picture' | 'Write down speech';
const part = (page: Page, name: Part) => page.getByRole('region', { name });

/** Waits for the end of a section's work: its times. */
async function outcome(page: Page, name: Part): Promise<{ result: string[]; times: Record<string, string> }> {
  const section = part(page, name);
  await page.waitForFunction((n) => document.getElementById(n)?.ariaBusy === 'false', idOf(name), {
    timeout: 4 * MINUTES,
  });
  expect(await section.getByRole('alert').allInnerTexts()).toEqual([]);
  const rows = await section.getByRole('row').all();
  const times = await Promise.all(
    rows.map((row) => Promise.all([row.getByRole('rowheader').textContent(), row.getByRole('cell').textContent()])),
  );
  const lines = await section.locator('output li').allTextContents();
  const result = lines.length > 0 ? lines : await section.locator('output').allTextContents();
  return { result, times: Object.fromEntries(times) };
}

const idOf = (name: Part): string => (name === 'Read a picture' ? 'picture' : 'speech');

const SAMPLE_LINES = ['Warp and weft', 'the heddle lifts each thread', 'woven in 1804'];
const JFK = 'and so my fellow americans ask not what your country can do for you ask what you can do for your country';
const words = (text: string): string => text.toLowerCase().replace(/[^a-z ]/g, '');

/** Counts what a page's worker waits for from the device. */
async function countReadbacks(worker: Worker): Promise<void> {
  await worker.evaluate(() => {
    const counted = globalThis as unknown as { readbacks: number };
    counted.readbacks = 0;
    const map = GPUBuffer.prototype.mapAsync;
    GPUBuffer.prototype.mapAsync = function (...args) {
      counted.readbacks++;
      return map.apply(this, args);
    };
  });
}

const readbacks = (worker: Worker): Promise<number> =>
  worker.evaluate(() => (globalThis as unknown as { readbacks: number }).readbacks);

describe.skipIf(!program)('the example page', () => {
  for (const [label, name] of [
    ['WebAssembly', 'wasm'],
    ['WebGPU', 'webgpu'],
  ] as const) {
    step(`reads its sample picture by ${label}`, async (s) => {
      const page = await visit(s);
      await page.getByLabel(label).check();
      await part(page, 'Read a picture').getByRole('button', { name: 'Use a sample' }).click();
      const { result, times } = await outcome(page, 'Read a picture');
      expect(result.map((line) => line.replace(/ \d+ %$/, ''))).toEqual(SAMPLE_LINES);
      expect(times).toMatchObject({
        'run with': label,
        'load the models': expect.stringMatching(/ m?s$/),
        'find lines': expect.stringMatching(/ m?s$/),
        'read line 3': expect.stringMatching(/ m?s$/),
        'memory of the models': expect.stringMatching(/^\d+(\.\d)? MB$/),
      });
      await page.close();
    });

    step(`writes down its sample recording by ${label}`, async (s) => {
      const page = await visit(s);
      const [worker] = page.workers();
      if (name === 'webgpu') await countReadbacks(worker as Worker);
      await page.getByLabel(label).check();
      await part(page, 'Write down speech').getByRole('button', { name: 'Use a sample' }).click();
      const { result, times } = await outcome(page, 'Write down speech');
      expect(words(result.join(' '))).toBe(JFK);
      expect(times['run with']).toBe(label);
      const pieces = Object.keys(times).find((k) => k.endsWith('more word pieces'));
      const tokens = 1 + Number.parseInt(pieces ?? '', 10);
      if (name === 'webgpu') expect(await readbacks(worker as Worker)).toBeLessThanOrEqual(tokens);
      await page.close();
    });
  }

  step('takes a picture from a file and by dropping it', async (s) => {
    const page = await visit(s);
    const png = await page.evaluate(async () => {
      const canvas = new OffscreenCanvas(400, 120);
      const context = canvas.getContext('2d') as OffscreenCanvasRenderingContext2D;
      context.fillStyle = 'white';
      context.fillRect(0, 0, 400, 120);
      context.fillStyle = 'black';
      context.font = '48px sans-serif';
      context.fillText('Hello 2468', 40, 80);
      return [...new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer())];
    });
    const section = part(page, 'Read a picture');
    const file = { name: 'hello.png', mimeType: 'image/png', buffer: Buffer.from(png) };
    await section.locator('input[type=file]').setInputFiles(file);
    expect((await outcome(page, 'Read a picture')).result[0]).toMatch(/^Hello 2468/);
    await section.getByRole('button', { name: 'Run again' }).click();
    expect((await outcome(page, 'Read a picture')).result[0]).toMatch(/^Hello 2468/);
    const dropped = await page.evaluateHandle((bytes) => {
      const data = new DataTransfer();
      data.items.add(new File([Uint8Array.from(bytes)], 'hello.png', { type: 'image/png' }));
      return data;
    }, png);
    await section.dispatchEvent('drop', { dataTransfer: dropped });
    expect((await outcome(page, 'Read a picture')).result[0]).toMatch(/^Hello 2468/);
    await page.close();
  });

  step('keeps weights in the Cache API, and only those in use', async (s) => {
    const page = await visit(s);
    const asked: string[] = [];
    page.context().on('request', (r) => r.url().endsWith('.bin') && asked.push(r.url()));
    const sample = async (): Promise<void> => {
      await part(page, 'Read a picture').getByRole('button', { name: 'Use a sample' }).click();
      await outcome(page, 'Read a picture');
    };
    await page.evaluate(async () => {
      const cache = await caches.open('heddle');
      await cache.put(
        new URL('models/text-finder-wasm/model.0123456789abcdef.bin', location.href),
        new Response('old'),
      );
    });
    await sample();
    const kept = await page.evaluate(async () => (await (await caches.open('heddle')).keys()).map((k) => k.url));
    expect(kept.filter((url) => url.includes('text-')).length).toBe(2);
    expect(kept.join()).not.toContain('0123456789abcdef');
    expect(asked.length).toBe(2);
    await page.reload();
    await sample();
    expect(asked.length).toBe(2);
    // The same artifact as another page would load it, with no option and nobody who listens; what is kept must be whole.
    const load = `import('/models/text-finder-wasm/model.mjs').then((m) => m.load()).then((m) => m.memoryBytes > 0)`;
    expect(await page.evaluate(load)).toBe(true);
    await page.evaluate(async () => {
      const cache = await caches.open('heddle');
      for (const key of await cache.keys()) await cache.put(key, new Response('broken'));
    });
    await expect(page.evaluate(load)).rejects.toThrow(/the weights have 6 bytes, not/);
    expect(await page.evaluate(load)).toBe(true);
    await page.close();
  });

  step('says what is wrong with a file, and goes on', async (s) => {
    const page = await visit(s);
    const text = { name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('no picture') };
    await part(page, 'Read a picture').locator('input[type=file]').setInputFiles(text);
    await page.getByText('“notes.txt” is no picture that this browser can open.').waitFor();
    await part(page, 'Write down speech').locator('input[type=file]').setInputFiles(text);
    await page.getByText('“notes.txt” is no recording that this browser can open.').waitFor();
    expect(await page.getByRole('button', { name: 'Use a sample' }).first().isEnabled()).toBe(true);
    await page.close();
  });

  step('hears the first half minute of a longer recording, and says so', async (s) => {
    const page = await visit(s);
    const wav = new wavefile.WaveFile();
    wav.fromScratch(1, 8000, '16', new Int16Array(8000 * 31));
    const file = { name: 'long.wav', mimeType: 'audio/wav', buffer: Buffer.from(wav.toBuffer()) };
    await part(page, 'Write down speech').locator('input[type=file]').setInputFiles(file);
    expect((await outcome(page, 'Write down speech')).result.join()).toContain('Only the first 30 seconds were heard');
    await page.close();
  });

  step('records from the microphone', async (s) => {
    const page = await visit(s);
    const section = part(page, 'Write down speech');
    await section.getByRole('button', { name: 'Record', exact: true }).click();
    await section.getByText('listening to the microphone').waitFor();
    await page.waitForTimeout(1500);
    await section.getByRole('button', { name: 'Stop' }).click();
    expect((await outcome(page, 'Write down speech')).times['run with']).toBe('WebAssembly');
    await page.close();
  });

  step('runs as WebAssembly, and says so, where there is no WebGPU', async (s) => {
    const page = await visit(s, 'none');
    expect(await page.locator('#adapter').textContent()).toMatch(/WebGPU.*run as WebAssembly instead/);
    expect(await page.getByLabel('WebGPU').isDisabled()).toBe(true);
    await part(page, 'Read a picture').getByRole('button', { name: 'Use a sample' }).click();
    const { result } = await outcome(page, 'Read a picture');
    expect(result[0]).toMatch(/^Warp and weft/);
    await page.close();
  });

  step(
    'shows a speech library that a browser loads, with WAV files read by an ES module as bundlers find it',
    async (s) => {
      const page = await (await browser('software')).newPage();
      const map = JSON.stringify({ imports: { wavefile: '/wavefile.js' } });
      const files: Record<string, { contentType: string; body: string }> = {
        'whole.html': { contentType: 'text/html', body: `<script type="importmap">${map}</script>` },
        'wavefile.js': { contentType: 'text/javascript', body: 'export class WaveFile {}' },
      };
      for (const [name, file] of Object.entries(files)) await page.route(`${s.url}${name}`, (r) => r.fulfill(file));
      await page.goto(`${s.url}whole.html`);
      const names = await page.evaluate(`import('/heddle/stt/index.js').then((m) => Object.keys(m))`);
      expect(names).toEqual(expect.arrayContaining(['modelPart', 'readWav', 'runMoonshine', 'decodeTokens']));
      await page.close();
    },
  );

  step('needs no special headers', async ({ url }) => {
    const { headers } = await fetch(url);
    const names = [...headers.keys()].filter((n) => !['connection', 'date', 'keep-alive'].includes(n));
    expect(names.sort()).toEqual(['content-length', 'content-type']);
  });
});
