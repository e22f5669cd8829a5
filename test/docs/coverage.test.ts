// docs/coverage.md is what the records say now.

import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { coverageDocument } from '../../src/cli/coverage/document.js';

it('docs/coverage.md is current (npm run docs:coverage writes it)', () => {
  const page = readFileSync(new URL('../../docs/coverage.md', import.meta.url), 'utf8').split('\n');
  const wanted = coverageDocument().split('\n');
  const stale = wanted.filter((line, k) => line !== page[k]).slice(0, 5);
  expect(stale, 'lines that are not on the page: run `npm run docs:coverage`').toEqual([]);
  expect(page.length).toBe(wanted.length);
});
