import { expect, it } from 'vitest';
import { F32_CASES, measureF32 } from './macro-accuracy.js';
it('probe', () => {
  for (const c of F32_CASES) {
    const m = measureF32(c, 100000);
    console.log(c.op, c.lo, c.hi, m.ulp.toFixed(3), m.at, m.ulp > c.ulp ? 'XXX' : '');
  }
});
