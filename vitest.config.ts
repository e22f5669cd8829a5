// Tests run in Node; a case may compile C or start a program, hence the generous timeout. They often wait for what they
// start, so every core has a worker: with one on two cores the suite took half an hour where processes start slowly.

import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    maxWorkers: '100%',
  },
});
