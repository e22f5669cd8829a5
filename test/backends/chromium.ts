// A page in headless Chromium that imports an artifact from a folder: served over HTTP with the headers that threads need,
// or without. Where there is no Chromium tests are skipped, and say so.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, extname, join } from 'node:path';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];

export function findChromium(): string | null {
  const places = (process.env.PATH ?? '').split(delimiter).flatMap((dir) => NAMES.map((name) => join(dir, name)));
  const found = places.find((p) => existsSync(p)) ?? null;
  if (!found) process.stderr.write('SKIPPED: browser tests, as there is no Chromium on the path\n');
  return found;
}

const TYPES: Readonly<Record<string, string>> = {
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
  '.html': 'text/html',
};

const ISOLATED = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };

const page = (script: string): string => `<script type="module">
  const report = (body) => fetch('/report', { method: 'POST', body: JSON.stringify(body) });
  try {
    report({ value: await (async () => {${script}})() });
  } catch (e) {
    report({ error: String(e?.stack ?? e) });
  }
</script>`;

interface Report {
  readonly value?: unknown;
  readonly error?: string;
}

/** What `script`, the body of an async function, returns when run in a page beside the files of `folder`. */
export async function runInChromium(
  chromium: string,
  folder: string,
  script: string,
  { isolated = false } = {},
): Promise<unknown> {
  const profile = mkdtempSync(join(tmpdir(), 'heddle-chromium-'));
  let settle: (report: Report) => void = () => undefined;
  const reported = new Promise<Report>((resolve) => (settle = resolve));
  const server = createServer((request, response) => {
    if (request.method === 'POST') {
      let body = '';
      request.on('data', (part) => (body += part));
      request.on('end', () => settle(JSON.parse(body)));
      return response.end();
    }
    const name = (request.url ?? '/').slice(1);
    const file = join(folder, name);
    if (name !== '' && !existsSync(file)) return response.writeHead(404).end();
    response.writeHead(200, { 'Content-Type': TYPES[extname(name) || '.html'], ...(isolated ? ISOLATED : {}) });
    response.end(name === '' ? page(script) : readFileSync(file));
  });
  const port = await listen(server);
  const flags = ['--headless', '--no-sandbox', '--disable-gpu', `--user-data-dir=${profile}`];
  const browser = spawn(chromium, [...flags, `http://127.0.0.1:${port}/`], { stdio: 'ignore', detached: true });
  const exited = new Promise<Report>((resolve) =>
    browser.on('exit', (code) => resolve({ error: `Chromium ended with ${code}` })),
  );
  try {
    const { value, error } = await Promise.race([reported, exited]);
    if (error) throw new Error(error);
    return value;
  } finally {
    server.close();
    server.closeAllConnections();
    if (browser.pid !== undefined && browser.exitCode === null) process.kill(-browser.pid, 'SIGKILL');
    await exited;
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

const listen = (server: Server): Promise<number> =>
  new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)));
