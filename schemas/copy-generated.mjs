// Copies generated JavaScript and its declarations from src/ to dist/; tsc emits only what it compiles itself.

import { copyFileSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';

for (const name of readdirSync('src', { recursive: true, encoding: 'utf8' })) {
  if (!/(^|[\\/])generated[\\/].*(\.js|\.d\.ts)$/.test(name)) continue;
  const target = join('dist', name);
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(join('src', name), target);
}
