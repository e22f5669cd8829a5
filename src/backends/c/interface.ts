// The names a C module shows: one prefix for everything global, structs and functions per entry, fields per input, output
// and symbol. All come from the model's own names and never collide.

import { dimSyms, type Sym, upperBound } from '../../ir/dim.js';
import type { Program, ProgramEntry, ProgramValue } from '../../ir/program.js';
import { DTYPE_INFO } from '../../support/dtype.js';
import { CompileError } from '../../support/errors.js';
import { inputSymbols } from '../entry-spec.js';
import { createNames, type Names, sanitize } from '../names.js';
import { C_RESERVED, C_TYPES } from './lang.js';

export interface CValue {
  readonly value: ProgramValue;
  /** Struct field with the pointer. */
  readonly field: string;
  /** Struct field that receives an output's shape; empty for inputs and scalars. */
  readonly shapeField: string;
  readonly type: string;
  readonly maxElements: number;
  /** Macro with that number. */
  readonly elementsMacro: string;
}

export interface CEntry {
  readonly entry: ProgramEntry;
  readonly functionName: string;
  readonly inputsType: string;
  readonly outputsType: string;
  readonly inputs: readonly CValue[];
  readonly outputs: readonly CValue[];
  /** Symbols the caller states, as fields of the inputs. */
  readonly syms: readonly { readonly sym: Sym; readonly field: string }[];
}

export interface CInterface {
  readonly prefix: string;
  /** Prefix of macros. */
  readonly upper: string;
  readonly entries: readonly CEntry[];
}

const STORAGE_TYPES: Readonly<Record<string, string>> = {
  ...C_TYPES,
  f16: 'uint16_t',
  bf16: 'uint16_t',
  i4: 'int8_t',
  i2: 'int8_t',
};

/** The C type of one stored element of any model type. */
export const storageType = (dtype: string): string => STORAGE_TYPES[dtype] ?? 'uint8_t';

export function describeInterface(program: Program, prefix: string): CInterface {
  const upper = prefix.toUpperCase();
  const globals = createNames(C_RESERVED);
  for (const name of [
    prefix,
    'reset',
    'weights',
    'OK',
    'BAD_SIZE',
    'BAD_POINTER',
    'HOST_FAILED',
    'host',
    'host_input',
    'host_output',
    'H',
    'ARENA_BYTES',
    'STATE_BYTES',
    'WEIGHT_BYTES',
  ]) {
    globals.fresh(name === prefix ? name : `${/[a-z]/.test(name) ? prefix : upper}_${name}`);
  }
  const entries = program.entries.map((entry) => describeCEntry(entry, prefix, globals));
  return { prefix, upper, entries };
}

function describeCEntry(entry: ProgramEntry, prefix: string, globals: Names): CEntry {
  const functionName = globals.fresh(`${prefix}_${sanitize(entry.name)}`);
  const inFields = createNames(C_RESERVED);
  const outFields = createNames(C_RESERVED);
  const describe = (value: ProgramValue, fields: Names, isOutput: boolean): CValue => {
    if (value.dtype === 'string') {
      throw new CompileError('E301', `C has no string tensors: "${value.name}" of entry "${entry.name}" is one`);
    }
    const field = fields.fresh(value.name);
    return {
      value,
      field,
      shapeField: isOutput && value.shape.length > 0 ? fields.fresh(`${field}_shape`) : '',
      type: storageType(value.dtype),
      maxElements: value.shape.reduce<number>((n, d) => n * upperBound(d, value.name), 1),
      elementsMacro: globals.fresh(`${functionName}_${field}_ELEMENTS`.toUpperCase()),
    };
  };
  return {
    entry,
    functionName,
    inputsType: globals.fresh(`${functionName}_inputs`),
    outputsType: globals.fresh(`${functionName}_outputs`),
    inputs: entry.inputs.map((v) => describe(v, inFields, false)),
    outputs: entry.outputs.map((v) => describe(v, outFields, true)),
    syms: inputSymbols(entry).map((sym) => ({ sym, field: inFields.fresh(sym.name) })),
  };
}

/** Bytes a value occupies at the symbols' bounds. */
export const maxBytes = (v: CValue): number => v.maxElements * DTYPE_INFO[v.value.dtype].bytes;

/** Symbols that are not inputs: bound by data, or counted by a loop. */
export function innerSymbols(entry: CEntry): readonly Sym[] {
  const given = new Set(entry.syms.map((s) => s.sym.name));
  const found = new Map<string, Sym>();
  const visit = (steps: ProgramEntry['steps']): void => {
    for (const step of steps) {
      if (step.kind === 'bind' || step.kind === 'loop') found.set(step.sym.name, step.sym);
      if (step.kind === 'loop') visit(step.body);
      if (step.kind === 'if') for (const branch of [step.then, step.else]) visit(branch);
      if (step.kind === 'while') for (const part of [step.test, step.body]) visit(part);
    }
  };
  visit(entry.entry.steps);
  for (const output of entry.outputs) for (const d of output.value.shape) dimSyms(d, found);
  return [...found.values()].filter((s) => !given.has(s.name));
}

/** A model's text inside a C comment: one line, nothing that ends or opens a comment. */
export const commentText = (text: string): string =>
  text
    .replace(/\*\//g, '* /')
    .replace(/\/\*/g, '/ *')
    .replace(/\?\?/g, '? ?')
    .replace(/[^\x20-\x7e\u00a0-\uffff]+/g, ' ');
