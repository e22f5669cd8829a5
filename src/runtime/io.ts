// What an entry takes and gives, as plain JSON, and the check every session makes of its inputs: names, types,
// lengths, shapes; the values of size symbols are read off the shapes on the way. Problems are returned, not thrown.

import type { DeviceTensor, RuntimeTensor } from './session.js';

/** A size as data: a number, a symbol's name, or an operation (`//` and `%` are floored). */
export type Size = number | string | readonly ['+' | '*' | '//' | '%' | 'min' | 'max', Size, Size];

export interface ValueSpec {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly Size[];
}

/** Inclusive bounds of a size symbol. */
export interface SymbolSpec {
  readonly name: string;
  readonly lo: number;
  readonly hi: number;
}

/** `symbols` are those the inputs' shapes determine, each by at least one bare occurrence. */
export interface EntrySpec {
  readonly name: string;
  readonly symbols: readonly SymbolSpec[];
  readonly inputs: readonly ValueSpec[];
  readonly outputs: readonly ValueSpec[];
}

export interface InputProblem {
  readonly message: string;
  readonly hint: string;
}

export interface CheckedInputs {
  readonly problems: readonly InputProblem[];
  readonly symbols: ReadonlyMap<string, number>;
}

/** Bytes of one stored element by type; sub-byte types are held one a byte, strings have no fixed size. */
export const ELEMENT_BYTES: Readonly<Record<string, number>> = {
  f64: 8,
  i64: 8,
  u64: 8,
  f32: 4,
  i32: 4,
  u32: 4,
  f16: 2,
  bf16: 2,
  i16: 2,
  u16: 2,
};

export const elementBytes = (dtype: string): number => ELEMENT_BYTES[dtype] ?? 1;

/** The value of a size once every symbol it mentions has one. */
export function evalSize(size: Size, symbols: ReadonlyMap<string, number>): number {
  if (typeof size === 'number') return size;
  if (typeof size === 'string') {
    const value = symbols.get(size);
    if (value === undefined) throw new Error(`the size "${size}" has no value yet`);
    return value;
  }
  const [op, a, b] = size;
  const x = evalSize(a, symbols);
  const y = evalSize(b, symbols);
  switch (op) {
    case '+':
      return x + y;
    case '*':
      return x * y;
    case '//':
      return Math.floor(x / y);
    case '%':
      return x - Math.floor(x / y) * y;
    case 'min':
      return Math.min(x, y);
    case 'max':
      return Math.max(x, y);
  }
}

/** `x: f32[batch, 3]` */
export const showValue = (v: ValueSpec): string => `${v.name}: ${v.dtype}[${v.shape.map(showSize).join(', ')}]`;

export const showSize = (s: Size): string =>
  typeof s === 'object' ? `${s[0]}(${showSize(s[1])}, ${showSize(s[2])})` : String(s);

type Given = RuntimeTensor | DeviceTensor;

/** Checks all inputs and solves the symbols. Every problem found is listed; `symbols` is complete when there are none. */
export function checkInputs(entry: EntrySpec, inputs: Readonly<Record<string, Given>>): CheckedInputs {
  const problems: InputProblem[] = [];
  const symbols = new Map<string, number>();
  const hint = `Inputs of "${entry.name}": ${entry.inputs.map(showValue).join(', ') || 'none'}`;
  const fail = (message: string): void => void problems.push({ message, hint });
  for (const spec of entry.inputs) {
    const tensor = Object.hasOwn(inputs, spec.name) ? inputs[spec.name] : undefined;
    if (tensor === undefined) fail(`input "${spec.name}" is missing`);
    else checkTensor(spec, tensor, entry, symbols, fail);
  }
  for (const name of Object.keys(inputs)) {
    if (!entry.inputs.some((spec) => spec.name === name)) fail(`there is no input "${name}"`);
  }
  for (const spec of problems.length ? [] : entry.inputs) checkComputedSizes(spec, inputs, symbols, fail);
  return { problems, symbols };
}

function checkTensor(
  spec: ValueSpec,
  tensor: Given,
  entry: EntrySpec,
  symbols: Map<string, number>,
  fail: (message: string) => void,
): void {
  const what = `input "${spec.name}"`;
  if (tensor.dtype !== spec.dtype) fail(`${what}: expected type ${spec.dtype}, got ${tensor.dtype}`);
  if (tensor.shape.length !== spec.shape.length) {
    return fail(`${what}: expected ${spec.shape.length} axes, got ${tensor.shape.length}`);
  }
  spec.shape.forEach((size, axis) => {
    const got = tensor.shape[axis] as number;
    const problem = typeof size === 'string' ? solve(size, got, entry, symbols) : mismatch(size, got);
    if (problem) fail(`${what}, axis ${axis}: ${problem}`);
  });
  const elements = tensor.shape.reduce((n, d) => n * d, 1);
  const length = 'buffer' in tensor ? elements : lengthOf(tensor);
  if (length !== elements) {
    fail(`${what}: its shape [${tensor.shape.join(', ')}] has ${elements} elements, its data ${length}`);
  }
}

const lengthOf = (t: RuntimeTensor): number =>
  ArrayBuffer.isView(t.data) ? t.data.byteLength / elementBytes(t.dtype) : t.data.length;

const mismatch = (size: Size, got: number): string =>
  typeof size === 'number' && size !== got ? `expected ${size}, got ${got}` : '';

/** Gives `name` its value, or says why it cannot be `got`. */
function solve(name: string, got: number, entry: EntrySpec, symbols: Map<string, number>): string {
  const known = symbols.get(name);
  if (known !== undefined) return known === got ? '' : `expected ${name} = ${known} as on an earlier axis, got ${got}`;
  const sym = entry.symbols.find((s) => s.name === name);
  if (sym && !(Number.isInteger(got) && got >= sym.lo && got <= sym.hi)) {
    return `expected ${sym.lo} ≤ ${name} ≤ ${sym.hi}, got ${got}`;
  }
  symbols.set(name, got);
  return '';
}

/** Axes given by an operation over symbols, once those are known. */
function checkComputedSizes(
  spec: ValueSpec,
  inputs: Readonly<Record<string, Given>>,
  symbols: ReadonlyMap<string, number>,
  fail: (message: string) => void,
): void {
  spec.shape.forEach((size, axis) => {
    if (typeof size !== 'object') return;
    const expected = evalSize(size, symbols);
    const got = inputs[spec.name]?.shape[axis];
    if (expected !== got)
      fail(`input "${spec.name}", axis ${axis}: expected ${showSize(size)} = ${expected}, got ${got}`);
  });
}
