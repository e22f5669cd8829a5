// Serves the built page (web/dist) on localhost, with no header but the type: what a page with heddle's artifacts needs is
// any server of files, and https where it is not localhost.

import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
  '.wav': 'audio/wav',
  '.svg': 'image/svg+xml',
};

/** The file a request asks for, or null where there is none in the folder. */
function fileOf(folder, url) {
  const path = decodeURIComponent(new URL(url, 'http://localhost').pathname);
  const file = normalize(join(folder, path.endsWith('/') ? `${path}index.html` : path));
  if (!file.startsWith(folder + sep) || !existsSync(file) || !statSync(file).isFile()) return null;
  return file;
}

function answer(folder, request, response) {
  let file = null;
  try {
    file = fileOf(folder, request.url);
  } catch {
    // A malformed address is one that leads nowhere.
  }
  if (!file) {
    response.writeHead(404, { 'content-type': 'text/plain' }).end('not found');
    return;
  }
  const type = TYPES[extname(file)] ?? 'application/octet-stream';
  response.writeHead(200, { 'content-type': type, 'content-length': statSync(file).size });
  if (request.method === 'HEAD') response.end();
  else createReadStream(file).pipe(response);
}

const { values: flags } = parseArgs({
  options: {
    folder: { type: 'string', default: fileURLToPath(new URL('dist', import.meta.url)) },
    port: { type: 'string', default: '8080' },
  },
});
const server = createServer((request, response) => answer(normalize(flags.folder), request, response));
server.on('error', (error) => {
  const taken = error.code === 'EADDRINUSE';
  console.error(taken ? `port ${flags.port} is taken: try --port 8081` : error.message);
  process.exitCode = 1;
});
server.listen(Number(flags.port), 'localhost', () => {
  console.log(`http://localhost:${server.address().port}/`);
});
