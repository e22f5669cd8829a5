// Writes docs/coverage.md from the operator records of the built program: `npm run docs:coverage`.

import { writeFileSync } from 'node:fs';
import { coverageDocument } from '../dist/cli/coverage/document.js';

writeFileSync(new URL('coverage.md', import.meta.url), coverageDocument());
