// `model.d.ts` of an artifact: the model's own entries, inputs and outputs by name, with types, shapes and the bounds
// of their symbols. Needs no library beyond ES2020, so that any project can use it.

import type { Program } from '../../ir/program.js';
import { type EntrySpec, showValue, type ValueSpec } from '../../runtime/io.js';
import { describeEntry, outputsFitInputs } from '../entry-spec.js';

const ARRAY_TYPES: Readonly<Record<string, string>> = {
  f64: 'Float64Array',
  f32: 'Float32Array',
  f16: 'Uint16Array',
  bf16: 'Uint16Array',
  i64: 'BigInt64Array',
  u64: 'BigUint64Array',
  i32: 'Int32Array',
  u32: 'Uint32Array',
  i16: 'Int16Array',
  u16: 'Uint16Array',
  i8: 'Int8Array',
  i4: 'Int8Array',
  i2: 'Int8Array',
  string: 'readonly string[]',
};

export const arrayType = (dtype: string): string => ARRAY_TYPES[dtype] ?? 'Uint8Array';
const isName = (s: string): boolean => /^[A-Za-z_$][\w$]*$/.test(s);
export const property = (s: string): string => (isName(s) ? s : JSON.stringify(s));
export const comment = (s: string): string => s.replaceAll('*/', '* /').replaceAll('\n', ' ');

export const PRELUDE = `/** A tensor: row-major \`data\`. */
export interface Tensor<D extends string, A> {
  readonly dtype: D;
  readonly shape: readonly number[];
  readonly data: A;
}

/** Data alone where at most one axis is unknown, else with its shape. */
export type Input<A> = A | { readonly data: A; readonly shape: readonly number[] };

/** Where a file is, or its bytes. */
export type Source = string | { readonly href: string } | ArrayBuffer | ArrayBufferView;
`;

/** Tensors that stay where they were computed: what their buffer is, and what its bytes are. */
export const deviceTypes = (about: string, reading: string, input: string): string => `/** ${about} */
export interface DeviceBuffer {
  readonly size: number;
  ${reading}
  destroy(): void;
}

/** An input that is there already: row-major${input}. */
export interface DeviceInput {
  readonly shape: readonly number[];
  readonly buffer: DeviceBuffer;
}

/** An output left there; the caller destroys its buffer. */
export interface DeviceOutput extends DeviceInput {
  readonly dtype: string;
}

/** The outputs asked for by \`outputs\` left there, the others as copies. */
export type Staying<O, N extends keyof O> = { readonly [K in keyof O]: K extends N ? DeviceOutput : O[K] };

/** Each input as such or as it was left. */
export type OnDevice<I> = { readonly [K in keyof I]: I[K] | DeviceInput };
`;

const KEPT_TYPES = deviceTypes(
  'Bytes in the memory of the instance whose output they are.',
  '/** A copy. */\n  read(): Uint8Array;',
  '',
);

/** An entry as a method, and one whose outputs may stay. */
export function declareKeepingEntry(
  e: EntrySpec,
  type: string,
  /** `all` asks for all outputs; `into` says that results go where the caller wants them. */
  { all = '', into = false }: { readonly all?: string; readonly into?: boolean },
): string {
  const optional = e.inputs.length === 0 ? '?' : '';
  const [inputs, outputs, name] = [`OnDevice<${type}Inputs>`, `${type}Outputs`, property(e.name)];
  const placed = into ? `; readonly into?: Into<${outputs}>` : '';
  return (
    `  ${name}(inputs${optional}: ${inputs}${into ? intoOption(outputs) : ''}): Promise<${outputs}>;\n` +
    `  ${name}<N extends keyof ${outputs} = keyof ${outputs}>(inputs: ${inputs}, options: { readonly outputs: ${all}readonly N[]${placed} }): Promise<Staying<${outputs}, N>>;\n`
  );
}

const intoOption = (outputs: string): string => `, options?: { readonly into?: Into<${outputs}> }`;

const INTO_TYPE = `/** Arrays for outputs, as long as these or longer: the output's \`data\` is then the part that is filled. */
export type Into<O> = { readonly [K in keyof O]?: O[K] extends Tensor<string, infer A> ? A : never };
`;

export const HEARS_WEIGHTS = `  /** Hears how many bytes of the weight file have come. */
  readonly onWeights?: (done: number, total: number) => void;`;

/** `run` → `Run`, `step-2` → `Step2`; made unique by a number. */
export function typeNames(entries: readonly EntrySpec[]): string[] {
  const used = new Set<string>();
  return entries.map((e) => {
    const words = e.name.split(/[^A-Za-z0-9]+/).filter(Boolean);
    const base = words.map((w) => w.charAt(0).toUpperCase() + w.slice(1)).join('') || 'Entry';
    const safe = /^\d/.test(base) ? `Entry${base}` : base;
    let name = safe;
    for (let i = 2; used.has(name); i++) name = `${safe}${i}`;
    used.add(name);
    return name;
  });
}

const doc = (v: ValueSpec): string => `  /** ${comment(showValue(v))} */`;

export function declareEntry(e: EntrySpec, type: string): string {
  const bounds = e.symbols.map((s) => `${s.lo} ≤ ${s.name} ≤ ${s.hi}`).join(', ');
  const inputs = e.inputs.map((v) => `${doc(v)}\n  readonly ${property(v.name)}: Input<${arrayType(v.dtype)}>;\n`);
  const outputs = e.outputs.map(
    (v) => `${doc(v)}\n  readonly ${property(v.name)}: Tensor<'${v.dtype}', ${arrayType(v.dtype)}>;\n`,
  );
  return [
    `/** Inputs of \`${comment(e.name)}\`.${bounds ? ` ${comment(bounds)}.` : ''} */`,
    `export interface ${type}Inputs {\n${inputs.join('')}}\n`,
    `/** Outputs of \`${comment(e.name)}\`: copies. */`,
    `export interface ${type}Outputs {\n${outputs.join('')}}\n`,
  ].join('\n');
}

function declareModel(
  entries: readonly EntrySpec[],
  types: readonly string[],
  { threads, keeps }: { readonly threads: boolean; readonly keeps: boolean },
): string {
  const methods = entries.map((e, i) => {
    if (keeps) return declareKeepingEntry(e, types[i] as string, { into: true });
    const optional = e.inputs.length === 0 ? '?' : '';
    return `  ${property(e.name)}(inputs${optional}: ${types[i]}Inputs${intoOption(`${types[i]}Outputs`)}): Promise<${types[i]}Outputs>;\n`;
  });
  const own = (name: string, text: string): string => (entries.some((e) => e.name === name) ? '' : text);
  const reset = own('reset', '  /** Puts state back to its initial contents. */\n  reset(): Promise<void>;\n');
  const bytes = own('memoryBytes', '  /** Bytes of its memory. */\n  readonly memoryBytes: number;\n');
  const helpers = threads
    ? own('threads', '  /** Threads that run it. */\n  readonly threads: number;\n') +
      own('close', '  /** Ends its threads; runs after that have one. */\n  close(): Promise<void>;\n')
    : '';
  return `/** One instance: its memory and state are its own. */\nexport interface Model {\n${methods.join('')}${reset}${bytes}${helpers}}\n`;
}

function declareLoad(hostOps: readonly string[], threads: boolean): string {
  const tensor = 'Tensor<string, ArrayBufferView | readonly string[]>';
  const host = `{\n${hostOps.map((op) => `    readonly ${property(op)}: (inputs: readonly ${tensor}[], step: number) => readonly ${tensor}[];\n`).join('')}  }`;
  const needed = hostOps.length > 0;
  return [
    'export interface LoadOptions {',
    '  /** Default: `model.wasm` beside `model.mjs`. */',
    '  readonly wasm?: Source;',
    '  /** Default: the weight file beside `model.mjs`, where there is one, kept in the Cache API where there is that. */',
    '  readonly weights?: Source;',
    HEARS_WEIGHTS,
    ...(threads
      ? [
          '  /** Default: one for each processor, as far as there is work. One where memory cannot be shared. */',
          '  readonly threads?: number;',
        ]
      : []),
    ...(needed ? ['  /** Operators that run in JavaScript, by name. */', `  readonly host: ${host};`] : []),
    '}\n',
    '/** Makes an instance; call it again for another. */',
    `export function load(options${needed ? '' : '?'}: LoadOptions): Promise<Model>;\n`,
  ].join('\n');
}

/** The text of `model.d.ts`. */
export function declarationText(program: Program, hostOps: readonly string[], threads = false): string {
  const entries = program.entries.map(describeEntry);
  const types = typeNames(entries);
  const keeps = outputsFitInputs(program);
  return [
    `// Types of the model ${comment(JSON.stringify(program.name))}.\n`,
    PRELUDE,
    INTO_TYPE,
    ...(keeps ? [KEPT_TYPES] : []),
    ...entries.map((e, i) => declareEntry(e, types[i] as string)),
    declareModel(entries, types, { threads, keeps }),
    declareLoad([...new Set(hostOps)], threads),
  ].join('\n');
}
