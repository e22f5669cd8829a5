// The arithmetic of convolutions with fewer products, along one axis: which taps go together, and which products they need.
// With a stride, only taps a stride apart meet the same inputs for neighbouring outputs; each such chain is cut into groups
// of up to three. For inputs d0, d1 … a stride apart and taps g0, g1 …, two outputs are y0 = a + b + c and y1 = d + b − c, with
//   1 tap:   a = d0·g0          d = d1·g0
//   2 taps:  a = (d0 − d1)·g0   b = d1·(g0 + g1)             d = (d2 − d1)·g1
//   3 taps:  a = (d0 − d2)·g0   b = (d1 + d2)·(g0 + g1 + g2)/2   c = (d2 − d1)·(g0 − g1 + g2)/2   d = (d3 − d1)·g2
// after S. Winograd, "Arithmetic Complexity of Computations" (A. Lavin, S. Gray, arXiv:1509.09308): F(2, 2) and F(2, 3). All
// groups add up in the same four sums, so those stay contractions.

/** Taps first, first + stride …: as many as `count`. */
export interface Chain {
  readonly first: number;
  readonly count: number;
}

export type Sum = 'a' | 'b' | 'c' | 'd';

/** Taps of a chain that has a product in the sum, at least. */
export const LEAST: Readonly<Record<Sum, number>> = { a: 1, b: 2, c: 3, d: 1 };

export interface Plan {
  /** Elements of the taps' axis between two taps of a chain. */
  readonly stride: number;
  /** Longest first, so that the terms of a sum are the first ones. */
  readonly chains: readonly Chain[];
}

const MOST = 3;

export function planTaps(taps: number, stride: number): Plan {
  const chains = Array.from({ length: Math.min(stride, taps) }, (_, phase) => cutChain(phase, taps, stride)).flat();
  chains.sort((x, y) => y.count - x.count || x.first - y.first);
  return { stride, chains };
}

/** Four are cut in half: as many products as of three and one, and of smaller rounding. */
function cutChain(phase: number, taps: number, stride: number): readonly Chain[] {
  const chains: Chain[] = [];
  for (let first = phase; first < taps; ) {
    const left = Math.ceil((taps - first) / stride);
    const count = left === 4 ? 2 : Math.min(MOST, left);
    chains.push({ first, count });
    first += count * stride;
  }
  return chains;
}

/** Chains of at least so many taps. */
export const chainsOf = ({ chains }: Plan, least: number): number => chains.filter((c) => c.count >= least).length;

/** Those that have a term. */
export const sumsOf = (plan: Plan): readonly Sum[] =>
  (['b', 'c', 'a', 'd'] as const).filter((s) => chainsOf(plan, LEAST[s]) > 0);

/** For two outputs. */
export const productsOf = (plan: Plan): number => sumsOf(plan).reduce((n, s) => n + chainsOf(plan, LEAST[s]), 0);
