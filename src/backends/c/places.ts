// Where each buffer is found from inside an entry's function: a field of its structs, the arena, the state, or a constant.

import { type Dim, dimKey } from '../../ir/dim.js';
import type { BufferRef, Program, ProgramBuffer } from '../../ir/program.js';
import { DTYPE_INFO } from '../../support/dtype.js';
import { invariant } from '../../support/errors.js';
import { createNames } from '../names.js';
import { type CEntry, storageType } from './interface.js';

export interface Places {
  /** A pointer to elements of C type `type` (with `const` where only read) at `ref`; `size` prints an offset. */
  readonly pointer: (entry: CEntry, ref: BufferRef, type: string, size: (d: Dim) => string) => string;
  readonly bufferOf: (id: number) => ProgramBuffer;
  /** The constant's own array, where weights are in the source. */
  readonly constantName: (id: number) => string;
  readonly usedConstants: ReadonlySet<number>;
}

export function createPlaces(program: Program, weightsInline: boolean): Places {
  const buffers = new Map(program.buffers.map((b) => [b.id, b]));
  const names = createNames();
  const constants = new Map<number, string>();
  for (const b of program.buffers) {
    if (b.place.kind === 'const') constants.set(b.id, names.fresh(`w${b.id}_${b.name}`.slice(0, 48)));
  }
  const usedConstants = new Set<number>();

  const bufferOf = (id: number): ProgramBuffer => {
    const b = buffers.get(id);
    invariant(b, `no buffer ${id}`);
    return b;
  };
  const constantName = (id: number): string => constants.get(id) ?? '';

  const base = (entry: CEntry, b: ProgramBuffer, type: string): string => {
    const { place } = b;
    const own = storageType(b.dtype);
    const bare = type.replace(/^const /, '');
    const cast = (text: string): string =>
      bare === own ? text : `(${type} *)${type.startsWith('const') ? '(const void *)' : '(void *)'}${text}`;
    switch (place.kind) {
      case 'input':
      case 'output': {
        const value = (place.kind === 'input' ? entry.inputs : entry.outputs)[place.index];
        invariant(value && program.entries[place.entry] === entry.entry, `${b.name} belongs to another entry`);
        return cast(`${place.kind === 'input' ? 'in' : 'out'}->${value.field}`);
      }
      case 'const':
        usedConstants.add(b.id);
        invariant(type.startsWith('const '), `the constant ${b.name} is written`);
        return weightsInline ? cast(constantName(b.id)) : `WEIGHTS(${bare}, ${place.offset})`;
      case 'arena':
        return `ARENA(${bare}, ${place.offset})`;
      case 'state':
        return `STATE(${bare}, ${place.offset})`;
    }
  };

  const pointer: Places['pointer'] = (entry, ref, type, size) => {
    const b = bufferOf(ref.buffer);
    const text = base(entry, b, type);
    if (ref.offset === 0) return text;
    // Offsets count the buffer's own elements.
    const own = storageType(b.dtype);
    const bare = type.replace(/^const /, '');
    if (bare === own) return `${text.startsWith('(') ? `(${text})` : text} + ${size(ref.offset)}`;
    const bytes = `(const unsigned char *)${base(entry, b, `const ${own}`)} + ${DTYPE_INFO[b.dtype].bytes} * ${size(ref.offset)}`;
    invariant(type.startsWith('const '), `${b.name} is written as another type at offset ${dimKey(ref.offset)}`);
    return `(${type} *)(const void *)(${bytes})`;
  };

  return { pointer, bufferOf, constantName, usedConstants };
}
