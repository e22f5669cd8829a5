// `npm run fuzz:ops -- [--seconds N] [--op Conv] [--seed S]`: fuzz.test.ts with these, all operators and a new seed unless told.
// With --seed alone it runs that one case of each operator; with --seconds it goes on from there until the time is out.

import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: { seconds: { type: 'string' }, op: { type: 'string' }, seed: { type: 'string' } },
});
for (const [name, text] of Object.entries(values))
  if (name !== 'op' && !/^\d+$/.test(text)) throw new Error(`--${name} ${text} is not a number`);
const seconds = values.seconds ?? (values.seed ? '0' : '60');
const seed = values.seed ?? String(Math.floor(Math.random() * 1e9));
console.log(`seed ${seed}`);
const env = {
  ...process.env,
  HEDDLE_FUZZ_SECONDS: seconds,
  HEDDLE_FUZZ_SEED: seed,
  ...(values.op && { HEDDLE_FUZZ_OP: values.op }),
};
const { status } = spawnSync('npx', ['vitest', 'run', 'test/ops/fuzz.test.ts'], { stdio: 'inherit', env });
process.exitCode = status ?? 1;
