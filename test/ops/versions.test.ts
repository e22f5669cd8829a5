// Every published version of an operator that a family covers, against the operator's definition in plain TypeScript.

import { describe, expect, it } from 'vitest';
import { makeCase, type OpCase, versionsOf } from './families/case.js';
import { difference } from './families/compare.js';
import { FAMILIES } from './families/index.js';
import { runNode } from './node-case.js';

/** Cases tried of each version. */
const TRIES = 4;

/** Empty when the node does what its definition says. */
function check(c: OpCase): string {
  const got = runNode({ ...c, outputs: c.outputs ?? c.want.length });
  return c.want.map((want, k) => (want ? difference(got[k], want, c.tolerance) : '')).find(Boolean) ?? '';
}

for (const family of FAMILIES)
  describe(`${family.name}: every version does what its definition says`, () => {
    const pairs = family.ops.flatMap((op) => versionsOf(family, op).map((version) => [op, version] as const));
    it.each(pairs)('%s-%i', (op, version) => {
      for (let seed = 1; seed <= TRIES; seed++) {
        const c = makeCase(family, op, version, seed);
        expect(
          check(c),
          `seed ${seed}: ${JSON.stringify(c.attrs ?? {})} ${c.inputs.map((t) => t && `${t.dtype}[${t.shape}]`)}`,
        ).toBe('');
      }
    });
  });
