// Flags that say how a model is compiled, shared by all commands that compile one.

import type { Argv, InferredOptionTypes, Options } from 'yargs';
import type { CompileOptions } from '../compile.js';
import type { DimOption } from '../frontend/import.js';
import { CompileError } from '../support/errors.js';
import { loadPlugins } from './plugins.js';

/** Placement, not numerics. */
export const STRICT_OPTION = {
  type: 'boolean',
  default: false,
  describe: 'WebGPU: refuse a model of which a part would run in its WebAssembly twin',
} as const satisfies Options;

export const MODEL_OPTIONS = {
  dim: {
    type: 'string',
    array: true,
    nargs: 1,
    describe: 'Fix a size or bound it: name=8, name=1..1500. Sizes without a name are called <input>_<axis>',
  },
  shape: { type: 'string', array: true, nargs: 1, describe: 'Shape of an input that has none: name=1,3,224,224' },
  state: {
    type: 'string',
    array: true,
    nargs: 1,
    describe: 'Keep an output for the next call: input:output; both leave the signature',
  },
  numerics: { choices: ['fast', 'strict'], default: 'fast', describe: 'strict: the same bits on every CPU target' },
  rounding: { choices: ['double', 'single'], default: 'double', describe: 'TFLite fixed-point rounding' },
  strict: STRICT_OPTION,
  plugin: { type: 'string', array: true, nargs: 1, describe: 'A module that exports `records`' },
} as const satisfies Record<string, Options>;

export type ModelFlags = InferredOptionTypes<typeof MODEL_OPTIONS>;

export const addModelOptions = <T>(y: Argv<T>): Argv<T & ModelFlags> =>
  y.options(MODEL_OPTIONS) as Argv<T & ModelFlags>;

export async function compileOptions(flags: ModelFlags): Promise<CompileOptions> {
  return {
    dims: parseDims(flags.dim ?? []),
    shapes: parseShapes(flags.shape ?? []),
    state: (flags.state ?? []).map(parseState),
    numerics: flags.numerics as 'fast' | 'strict',
    rounding: flags.rounding as 'single' | 'double',
    strict: flags.strict,
    plugins: await loadPlugins(flags.plugin),
  };
}

const wrong = (flag: string, given: string, wanted: string): CompileError =>
  new CompileError('E401', `--${flag} ${given} is not understood`, { hint: `Write ${wanted}` });

export function parseDims(given: readonly string[]): Record<string, DimOption> {
  return Object.fromEntries(
    given.map((text) => {
      const m = /^(?<name>.+)=(?<lo>\d{1,15})(\.\.(?<hi>\d{1,15}))?$/.exec(text)?.groups;
      if (!m) throw wrong('dim', text, '--dim name=8 or --dim name=1..1500');
      const lo = Number(m.lo);
      if (m.hi === undefined) return [m.name, lo];
      const hi = Number(m.hi);
      if (hi < lo) throw new CompileError('E401', `--dim ${text}: the lower bound is above the upper`);
      return [m.name, { lo, hi }];
    }),
  );
}

export function parseShapes(given: readonly string[]): Record<string, readonly number[]> {
  return Object.fromEntries(
    given.map((text) => {
      const m = /^(?<name>.+)=(?<sizes>\d{1,15}([,x]\d{1,15})*)?$/.exec(text)?.groups;
      if (!m) throw wrong('shape', text, '--shape name=1,3,224,224');
      return [m.name, m.sizes ? m.sizes.split(/[,x]/).map(Number) : []];
    }),
  );
}

function parseState(text: string): { input: string; output: string } {
  const cut = text.lastIndexOf(':');
  if (cut <= 0 || cut === text.length - 1) throw wrong('state', text, '--state input:output');
  return { input: text.slice(0, cut), output: text.slice(cut + 1) };
}
