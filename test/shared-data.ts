// Where the large test data lie: real models and the published conformance suites, which are not part of the repository.
// HEDDLE_TEST_DATA names their folder, else it is looked for beside the checkout. Suites that need it skip with a reason.

import { existsSync, readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const BASE = resolve(process.env.HEDDLE_TEST_DATA ?? join(ROOT, '..', 'shared'));

/** The folder `name` of the test data, or null, said aloud, if it is missing. */
export function sharedData(name: string): string | null {
  const path = join(BASE, name);
  if (existsSync(path)) return path;
  console.warn(`skipped: no test data at ${path} (set HEDDLE_TEST_DATA to the folder that holds ${name})`);
  return null;
}

/** Every file below `dir` whose name ends in `suffix`, sorted. */
export function filesBelow(dir: string, suffix: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(suffix))
    .sort()
    .map((name) => join(dir, name));
}
