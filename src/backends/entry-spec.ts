// The compiler's side of runtime/io.ts: an entry of a Program as plain data, and inputs checked with CompileError.
// Every session (interpreter, C server, WASM loader) goes through `solveInputs`.

import { type Atom, type Dim, dimSyms, type Sym } from '../ir/dim.js';
import { mayReturn, type Program, type ProgramEntry, type ProgramValue, type Step } from '../ir/program.js';
import { checkInputs, type EntrySpec, type Size, type ValueSpec } from '../runtime/io.js';
import type { DeviceTensor, RuntimeTensor } from '../runtime/session.js';
import { CompileError, invariant } from '../support/errors.js';

const ATOM_OPS = { floordiv: '//', mod: '%', min: 'min', max: 'max' } as const;

/** A Dim as JSON. */
export function sizeOfDim(dim: Dim): Size {
  if (typeof dim === 'number') return dim;
  const atom = (a: Atom): Size => (a.kind === 'sym' ? a.sym.name : [ATOM_OPS[a.kind], sizeOfDim(a.a), sizeOfDim(a.b)]);
  const times = (x: Size, y: Size): Size => (x === 1 ? y : ['*', x, y]);
  const plus = (x: Size, y: Size): Size => (y === 0 ? x : ['+', x, y]);
  const terms = dim.terms.map((t) => t.factors.map(atom).reduce<Size>(times, t.coef));
  return plus(
    terms.reduce((x, y) => plus(x, y)),
    dim.constant,
  );
}

const describeValue = (v: ProgramValue): ValueSpec => ({
  name: v.name,
  dtype: v.dtype,
  shape: v.shape.map(sizeOfDim),
});

/** The symbols an entry's inputs determine, in order of first appearance. */
export function inputSymbols(entry: ProgramEntry): readonly Sym[] {
  const syms = new Map<string, Sym>();
  for (const input of entry.inputs) for (const dim of input.shape) dimSyms(dim, syms);
  return [...syms.values()];
}

/** What is wrong where a checked symbol gets a value outside its bounds, and what to do. */
export const outsideSize = ({ name, lo, hi }: Sym, value: number): [message: string, more: { hint: string }] => [
  `the data ask for a size "${name}" of ${value}, and the program is made for ${lo} to ${hi}`,
  { hint: value < lo ? 'Sizes are not negative' : `Compile with --dim ${name}=${lo}..${value}` },
];

/** The checked symbols of a program, in the order of their names. */
export function checkedSymbols(program: Program): readonly Sym[] {
  const found = new Map<string, Sym>();
  const visit = (steps: readonly Step[]): void => {
    for (const s of steps) {
      if (s.kind === 'bind' && s.sym.checked) found.set(s.sym.name, s.sym);
      else if (s.kind === 'if') [s.then, s.else].forEach(visit);
      else if (s.kind === 'loop') visit(s.body);
      else if (s.kind === 'while') [s.test, s.body].forEach(visit);
    }
  };
  for (const e of program.entries) visit(e.steps);
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

export const describeEntry = (entry: ProgramEntry): EntrySpec => ({
  name: entry.name,
  symbols: inputSymbols(entry).map(({ name, lo, hi }) => ({ name, lo, hi })),
  inputs: entry.inputs.map(describeValue),
  outputs: entry.outputs.map(describeValue),
});

/** Whether an output of one run might be an input of another, by type and number of axes. */
export const outputsFitInputs = ({ entries }: Program): boolean =>
  entries.some((e) => e.inputs.some((input) => mayReturn(input, entries)));

/** The entry of that name, by default the first; E402 where there is none. */
export function findEntry(program: Program, name?: string): number {
  const index = name === undefined ? 0 : program.entries.findIndex((e) => e.name === name);
  if (index < 0 || index >= program.entries.length) {
    throw new CompileError('E402', `"${program.name}" has no entry "${name ?? ''}"`, {
      hint: `Entries: ${program.entries.map((e) => e.name).join(', ')}`,
    });
  }
  return index;
}

/** Values of the entry's symbols; throws one CompileError E402 that lists every input that does not fit. */
export function solveInputs(
  spec: EntrySpec,
  inputs: Readonly<Record<string, RuntimeTensor | DeviceTensor>>,
): ReadonlyMap<string, number> {
  const { problems, symbols } = checkInputs(spec, inputs);
  if (problems.length > 0) throw new CompileError(problems.map((p) => ({ code: 'E402', ...p })));
  for (const { name } of spec.symbols) invariant(symbols.has(name), `no input determines the symbol ${name}`);
  return symbols;
}
