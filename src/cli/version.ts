// The version of the package this file is part of.

import { readFileSync } from 'node:fs';

/** dist/cli/ and src/cli/ lie equally deep below package.json. */
export function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
