// `model.d.ts` of a WebGPU artifact: the model's own entries, inputs and outputs by name. GPU objects are declared by what
// is used of them, so that a project without WebGPU's types can still compile.

import type { Program } from '../../ir/program.js';
import type { EntrySpec } from '../../runtime/io.js';
import { describeEntry } from '../entry-spec.js';
import {
  comment,
  declareEntry,
  declareKeepingEntry,
  deviceTypes,
  HEARS_WEIGHTS,
  PRELUDE,
  property,
  typeNames,
} from '../wasm/declarations.js';

const GPU_TYPES = deviceTypes(
  "A GPUBuffer of the model's device.",
  'mapAsync(mode: number): Promise<unknown>;',
  ", in the entry's type (f64 as f32)",
);

function declareModel(entries: readonly EntrySpec[], types: readonly string[]): string {
  const methods = entries.map((e, i) => declareKeepingEntry(e, types[i] as string, { all: "'gpu' | " }));
  const own = (name: string, text: string): string => (entries.some((e) => e.name === name) ? '' : text);
  return [
    '/** One instance: its state is its own. Calls run one after the other. */',
    'export interface Model {',
    ...methods.map((m) => m.trimEnd()),
    own('reset', '  /** Puts state back to its initial contents. */\n  reset(): Promise<void>;'),
    own(
      'close',
      '  /** Frees what the model holds on the device, and the device unless it was given. */\n  close(): Promise<void>;',
    ),
    own('memoryBytes', `  /** Bytes of the device's memory it holds. */\n  readonly memoryBytes: number;`),
    own('device', '  /** The GPUDevice it runs on. */\n  readonly device: object;'),
    '}\n',
  ]
    .filter(Boolean)
    .join('\n');
}

function declareLoad(hostOps: readonly string[], twin: boolean): string {
  const tensor =
    '{ readonly dtype: string; readonly shape: readonly number[]; readonly data: ArrayBufferView | readonly string[] }';
  const needed = hostOps.length > 0;
  const host = hostOps.map(
    (op) =>
      `    readonly ${property(op)}: (inputs: readonly ${tensor}[], step: number) => readonly { readonly data: ArrayBufferView | readonly string[] }[];`,
  );
  return [
    'export interface LoadOptions {',
    '  /** A GPUDevice to use; by default one is opened with the limits the model needs. */',
    '  readonly device?: object;',
    '  /** Default: the weight file beside `model.mjs`, kept in the Cache API where there is one. */',
    '  readonly weights?: Source;',
    HEARS_WEIGHTS,
    ...(twin
      ? [
          '  /** What the GPU should not run. Default: `model.twin.wasm` beside `model.mjs`. */',
          '  readonly twin?: Source;',
        ]
      : []),
    '  /** Hears how many of all shaders are compiled. */',
    '  readonly onProgress?: (done: number, total: number) => void;',
    ...(needed ? ['  /** Operators that run in JavaScript, by name. */', '  readonly host: {', ...host, '  };'] : []),
    '}\n',
    '/** Makes an instance; call it again for another. */',
    `export function load(options${needed ? '' : '?'}: LoadOptions): Promise<Model>;\n`,
  ].join('\n');
}

/** The text of `model.d.ts`. */
export function declarationText(program: Program, hostOps: readonly string[], twin = false): string {
  const entries = program.entries.map(describeEntry);
  const types = typeNames(entries);
  return [
    `// Types of the model ${comment(JSON.stringify(program.name))}.\n`,
    PRELUDE,
    GPU_TYPES,
    ...entries.map((e, i) => declareEntry(e, types[i] as string)),
    declareModel(entries, types),
    declareLoad([...new Set(hostOps)], twin),
  ].join('\n');
}
