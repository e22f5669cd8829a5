// Tests run in Node; a case may compile C or start a program, hence the generous timeout. They often wait for what they
// start, so every core has a worker: with one on two cores the suite took half an hour where processes start slowly.

import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { defineConfig } from 'vitest/config';

/** Files of minutes: begun late, one of them would keep one core busy while the others wait. */
const LONG = /\/(ops\/fuzz|backends\/(dot|c-vector|strict))\.test\.ts$/;

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isLong = (f: TestSpecification): boolean => LONG.test(f.moduleId);
    return [...sorted.filter(isLong), ...sorted.filter((f) => !isLong(f))];
  }
}

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    maxWorkers: '100%',
    sequence: { sequencer: LongestFirst },
  },
});
