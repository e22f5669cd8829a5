// What a user ships: model.wasm, model.mjs that loads it, its types, and the weights where they are a file of their own.
// The same program gives the same bytes; the weight file's name is a hash of its contents, so it may be cached for ever.

import type { Program } from '../../ir/program.js';
import { contentHash } from '../content-hash.js';
import { describeEntry } from '../entry-spec.js';
import { declarationText } from './declarations.js';
import { initialImage, type WasmLayout } from './layout.js';
import { type LoaderEntry, type LoaderPlan, loaderText } from './loader-template.js';
import { emitWasm, type WasmOptions } from './program.js';

export type WasmArtifactOptions = Omit<WasmOptions, 'memory'>;

/** The files of the artifact by name. `model.d.mts` is how TypeScript finds the types of a `.mjs`. */
export function emitWasmArtifact(
  program: Program,
  options: WasmArtifactOptions = {},
): Record<string, string | Uint8Array> {
  const { module, layout, inline } = emitWasm(program, options);
  const weights = inline ? null : weightFile(program, layout);
  const weightName = weights ? `model.${contentHash(weights.bytes)}.bin` : null;
  const hostOps = layout.hosts.map((h) => h.op);
  const plan = planLoader(program, layout, weights && [weights.address, weights.bytes.length]);
  return {
    'model.wasm': module,
    'model.mjs': loaderText(program.name, plan, 'model.wasm', weightName),
    'model.d.ts': declarationText(program, hostOps),
    'model.d.mts': "export * from './model.js';\n",
    ...(weights && weightName ? { [weightName]: weights.bytes } : {}),
  };
}

/** Memory's first contents from the first constant to the last, as one piece. */
function weightFile(program: Program, layout: WasmLayout): { address: number; bytes: Uint8Array } | null {
  const image = initialImage(program, layout);
  const [first, last] = [image[0], image.at(-1)];
  if (!first || !last) return null;
  const bytes = new Uint8Array(last.address + last.bytes.length - first.address);
  for (const part of image) bytes.set(part.bytes, part.address - first.address);
  return { address: first.address, bytes };
}

function planLoader(program: Program, layout: WasmLayout, weights: LoaderPlan['weights']): LoaderPlan {
  const entries = program.entries.map((entry, i): [string, LoaderEntry] => {
    const spec = describeEntry(entry);
    const own = layout.entries[i];
    return [
      entry.name,
      {
        symbols: spec.symbols.map((s) => [s.name, s.lo, s.hi]),
        inputs: spec.inputs.map((v, j) => [v.name, v.dtype, v.shape, own?.inputs[j]?.address ?? 0]),
        outputs: (own?.outputs ?? []).map((v) => [v.name, v.dtype, v.rank, v.address, v.sizes]),
      },
    ];
  });
  const args = (list: readonly { dtype: string; rank: number }[]) => list.map((a) => [a.dtype, a.rank] as const);
  return {
    pages: layout.pages,
    weights,
    state: [layout.state.address, layout.state.bytes, layout.stateIsZero],
    entries: Object.fromEntries(entries),
    host: layout.hosts.map((h) => ({ op: h.op, inputs: args(h.inputs), outputs: args(h.outputs) })),
  };
}
