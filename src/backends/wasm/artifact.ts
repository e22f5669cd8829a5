// What a user ships: model.wasm, its twin with relaxed SIMD, model.mjs that loads the one the engine takes, its types, and
// the weights where they are a file of their own.
// The same program gives the same bytes; the weight file's name is a hash of its contents, so it may be cached for ever.

import type { Program } from '../../ir/program.js';
import { contentHash } from '../content-hash.js';
import { checkedSymbols, describeEntry, outputsFitInputs } from '../entry-spec.js';
import { declarationText } from './declarations.js';
import { invariant } from '../../support/errors.js';
import { faultAddress, initialImage, stringConstants, type WasmLayout } from './layout.js';
import { type LoaderEntry, type LoaderPlan, loaderText } from './loader-template.js';
import { workerText } from './loader-threads.js';
import { emitWasm, INLINE_LIMIT, type WasmOptions, type WasmOutput } from './program.js';

export interface WasmArtifactOptions extends Omit<WasmOptions, 'memory' | 'relaxed' | 'shared' | 'profile'> {
  /** `auto` (default): a second module with relaxed SIMD, where that changes it; `only`: that one alone. */
  readonly relaxed?: 'auto' | 'off' | 'only' | undefined;
}

/** Weights up to this many bytes are put into both modules; a user fetches one of them. */
const TWIN_INLINE_LIMIT = 64 << 10;

/** The files of the artifact by name. `model.d.mts` is how TypeScript finds the types of a `.mjs`. */
export function emitWasmArtifact(
  program: Program,
  options: WasmArtifactOptions = {},
): Record<string, string | Uint8Array> {
  const { plain, twin } = emitModules(program, options);
  const { module, layout, inline } = plain;
  const weights = inline ? null : weightFile(program, layout);
  const weightName = weights ? `model.${contentHash(weights.bytes)}.bin` : null;
  const hostOps = layout.hosts.map((h) => h.op);
  const plan = planLoader(program, plain, weights && [weights.address, weights.bytes.length]);
  return {
    'model.wasm': module,
    ...(twin ? { 'model.relaxed.wasm': twin } : {}),
    'model.mjs': loaderText(program.name, plan, {
      module: 'model.wasm',
      relaxed: twin && 'model.relaxed.wasm',
      weights: weightName,
      keeps: outputsFitInputs(program),
    }),
    ...(plan.threads ? { 'model.worker.mjs': workerText() } : {}),
    'model.d.ts': declarationText(program, hostOps, plan.threads !== undefined),
    'model.d.mts': "export * from './model.js';\n",
    ...(weights && weightName ? { [weightName]: weights.bytes } : {}),
  };
}

/** The module, and its twin where relaxed instructions change it. */
function emitModules(program: Program, options: WasmArtifactOptions): { plain: WasmOutput; twin: Uint8Array | null } {
  const { relaxed = 'auto' } = options;
  const emit = (fused: boolean, weights: WasmOptions['weights']): WasmOutput =>
    emitWasm(program, { ...options, weights, relaxed: fused, shared: true });
  if (relaxed !== 'auto') return { plain: emit(relaxed === 'only', options.weights), twin: null };
  const [plain, fused] = [emit(false, 'file'), emit(true, 'file')];
  invariant(fused.sharedAt === plain.sharedAt, 'twins import alike');
  const same = fused.module.length === plain.module.length && fused.module.every((b, i) => b === plain.module[i]);
  const few = program.weightBytes + program.stateBytes <= (same ? INLINE_LIMIT : TWIN_INLINE_LIMIT);
  if (options.weights === 'file' || (options.weights === undefined && !few))
    return { plain, twin: same ? null : fused.module };
  return { plain: emit(false, 'inline'), twin: same ? null : emit(true, 'inline').module };
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

function planLoader(program: Program, { layout, sharedAt }: WasmOutput, weights: LoaderPlan['weights']): LoaderPlan {
  const most = Math.max(...program.kernels.map((k) => k.shares?.threads ?? 1));
  const entries = program.entries.map((entry, i): [string, LoaderEntry] => {
    const spec = describeEntry(entry);
    const own = layout.entries[i];
    return [
      entry.name,
      {
        symbols: spec.symbols.map((s) => [s.name, s.lo, s.hi]),
        inputs: spec.inputs.map((v, j) => {
          const { address = 0, stays = true } = own?.inputs[j] ?? {};
          return [v.name, v.dtype, v.shape, address, stays ? 1 : 0];
        }),
        outputs: (own?.outputs ?? []).map((v) => [v.name, v.dtype, v.rank, v.address, v.sizes]),
      },
    ];
  });
  const args = (list: readonly { dtype: string; rank: number }[]) => list.map((a) => [a.dtype, a.rank] as const);
  return {
    pages: layout.pages,
    weights,
    ...(sharedAt === null ? {} : { threads: [most, layout.job, sharedAt] as const }),
    state: [layout.state.address, layout.state.bytes, layout.stateIsZero],
    entries: Object.fromEntries(entries),
    checked: checkedSymbols(program).map((s) => [s.name, s.lo, s.hi]),
    fault: faultAddress(program),
    strings: stringConstants(program),
    host: layout.hosts.map((h) => ({ op: h.op, inputs: args(h.inputs), outputs: args(h.outputs) })),
  };
}
