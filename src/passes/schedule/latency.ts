// How many vectors of a step go side by side, so that one's operations run while another's wait for their operands. More than
// that takes registers and code for nothing.

import { children, type Expr } from '../../ir/scalar.js';
import type { VectorTarget } from './target.js';

/** Operations of a step up to which two vectors hide one another's latency on every target, and four. */
const TWO = 12;
/** Operations above which a step is busy with itself: it is neither memory nor the loop around it that it waits for. */
export const LONG_STEP = TWO;
const FOUR = 6;
/** Operations a step has to offer at any time: from here on two vectors are as good as four. */
const WIDE = 1.8;
/** And up to here four leave a processor idle that does two additions and two products at a time, each in three cycles. */
const NARROW = 1.2;

/** `vectors`: of a loop whose turn may be cut into shorter ones. Eight at once only where they leave no more single ones
 *  behind than four. */
export function vectorsAtOnce(
  values: readonly Expr[],
  { longSteps }: VectorTarget,
  vectors: number | null = null,
): number {
  const { count, depth } = measure(values);
  if (count <= FOUR) return 4;
  if (count > longSteps) return count <= TWO ? 2 : 1;
  if (count >= WIDE * depth) return 2;
  const fits = vectors !== null && vectors >= 8 && vectors % 8 < 4;
  return count > LONG_STEP && count < NARROW * depth && fits ? 8 : 4;
}

/** Operations, each shared one once, and how many of them wait for one another in the longest chain. */
export function measure(values: readonly Expr[]): { readonly count: number; readonly depth: number } {
  let count = 0;
  const depths = new Map<Expr, number>();
  const depthOf = (x: Expr): number => {
    const known = depths.get(x);
    if (known !== undefined) return known;
    const own = x.k === 'op' || x.k === 'select' || x.k === 'cast' ? 1 : 0;
    count += own;
    const below = children(x).map(depthOf);
    const depth = own + below.reduce((a, b) => Math.max(a, b), 0);
    depths.set(x, depth);
    return depth;
  };
  const depth = values.map(depthOf).reduce((a, b) => Math.max(a, b), 0);
  return { count, depth };
}
