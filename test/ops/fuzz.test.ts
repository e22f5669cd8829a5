// Generated cases of every operator family on the interpreter, C and WebAssembly. `npm run fuzz:ops` goes on for as long as one
// likes: it sets what is read from the environment here.

import { describe, expect, it } from 'vitest';
import { family } from './families/case.js';
import { FAMILIES } from './families/index.js';
import { type Draw, fuzz } from './fuzz.js';

const { HEDDLE_FUZZ_SECONDS, HEDDLE_FUZZ_OP, HEDDLE_FUZZ_SEED } = process.env;
const SECONDS = Number(HEDDLE_FUZZ_SECONDS ?? 0);
/** Cases of an operator in one run of the tests. */
const CASES = HEDDLE_FUZZ_SEED && SECONDS === 0 ? 1 : 20;
const FIRST = Number(HEDDLE_FUZZ_SEED ?? 1);

const chosen = FAMILIES.map((family) => ({
  family,
  ops: family.ops.filter((op) => !HEDDLE_FUZZ_OP || op === HEDDLE_FUZZ_OP),
})).filter(({ ops }) => ops.length > 0);

describe('interpreter, C and WebAssembly agree on', () => {
  it.each(chosen.map((c) => [c.family.name, c] as const))(
    '%s',
    async (_, { family, ops }) => {
      const draws = (first: number): Draw[] =>
        ops.flatMap((op) => Array.from({ length: CASES }, (_, k) => ({ family, op, seed: first + k })));
      const end = Date.now() + (SECONDS * 1000) / chosen.length;
      let cases = 0;
      for (let seed = FIRST; ; seed += CASES) {
        const batch = draws(seed);
        cases += batch.length;
        const wrong = await fuzz(batch);
        expect(wrong.join('\n'), `${wrong.length} of ${batch.length} cases`).toBe('');
        if (Date.now() >= end) break;
      }
      if (SECONDS > 0) console.info(`${family.name}: ${cases} cases`);
    },
    Math.max(300_000, SECONDS * 2000),
  );

  it('knows the operator asked for', () => {
    expect(chosen.length, `no family has ${HEDDLE_FUZZ_OP}`).toBeGreaterThan(0);
  });
});

it('a difference is reported with the command that repeats it', async () => {
  const wrong = family('wrong', {
    Abs: (_, r) => ({ inputs: [r.tensor([2], 1, 4)], want: [{ shape: [2], data: [0, 0] }] }),
  });
  const [line = '', ...more] = await fuzz([{ family: wrong, op: 'Abs', seed: 5 }]);
  expect(more).toEqual([]);
  expect(line).toMatch(/^Abs-13 seed 5 \(f32\[2\] {}\): the interpreter: element 0 is .*, not 0\n/);
  expect(line).toContain('npm run fuzz:ops -- --op Abs --seed 5');
});
