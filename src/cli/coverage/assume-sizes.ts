// Bounds for open sizes that nobody has chosen yet: whether an operator compiles should not hang on them. A few guesses are
// tried, and the first one with which every shape fits and memory suffices is kept and reported.

import type { CompileOptions } from '../../compile.js';
import type { DimOption } from '../../frontend/import.js';
import type { SourceModel, SourceValue } from '../../frontend/source.js';
import { fedInputs } from '../testing/test-case.js';
import type { ModelCoverage } from './report.js';

/** Upper bounds of a first axis, which is a batch more often than not, and of the others. */
const GUESSES = [
  { first: 256, other: 256 },
  { first: 8, other: 256 },
  { first: 8, other: 32_768 },
] as const;

/** Problems that another size may do away with: shapes that do not fit, sizes without bounds, too much memory. */
const SIZES = /^E(204|205|302) /;

/** Covers a model with one guess after another until none is to blame for a gap; the best of them if all are. */
export async function withAssumedSizes(
  model: SourceModel,
  options: CompileOptions,
  cover: (options: CompileOptions) => Promise<ModelCoverage>,
): Promise<ModelCoverage> {
  let best: ModelCoverage | undefined;
  for (const guess of GUESSES) {
    const dims = openSizes(model, options, guess);
    const inner = { lo: 1, hi: guess.other }; // sizes that only appear further in
    const found = await cover({ ...options, defaultDim: inner, dims: { ...dims, ...options.dims } });
    const report = { ...found, assumed: Object.fromEntries(Object.entries(dims).map(([k, d]) => [k, `1..${d.hi}`])) };
    if (!best || troubles(report) < troubles(best)) best = report;
    if (Object.keys(dims).length === 0 || troubles(best) === 0) break;
  }
  return best as ModelCoverage;
}

/** Gaps that hang on sizes. */
const troubles = (m: ModelCoverage): number =>
  m.problems.filter((p) => SIZES.test(p)).length +
  m.nodes.filter((n) => Object.values(n.targets).some((t) => SIZES.test(t.reason))).length;

function openSizes(
  model: SourceModel,
  options: CompileOptions,
  guess: (typeof GUESSES)[number],
): Record<string, Exclude<DimOption, number>> {
  const found: Record<string, Exclude<DimOption, number>> = {};
  for (const v of fedInputs(model))
    for (const [axis, name] of openAxes(v, options))
      if (options.dims?.[name] === undefined) found[name] ??= { lo: 1, hi: axis === 0 ? guess.first : guess.other };
  return found;
}

/** Axes without a number, with the names --dim knows them by. */
function openAxes(v: SourceValue, options: CompileOptions): readonly (readonly [axis: number, name: string])[] {
  if (v.type.kind !== 'tensor') return [];
  const shape = v.type.shape ?? options.shapes?.[v.name]?.map(() => null) ?? [];
  return shape.flatMap((d, k) => (typeof d === 'number' ? [] : [[k, d ?? `${v.label ?? v.name}_${k}`] as const]));
}
