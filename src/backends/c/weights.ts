// A program's constants in a C project: arrays in the source, or one binary file that an assembler file includes.

import type { Program, ProgramBuffer } from '../../ir/program.js';
import { DTYPE_INFO } from '../../support/dtype.js';
import { invariant } from '../../support/errors.js';
import type { Tensor } from '../../support/tensor.js';
import { useHelpers } from '../cell.js';
import { type StoredType, STORED } from '../lang.js';
import { commentText, storageType } from './interface.js';
import { constant } from './lang.js';

const LINE = 110;

/** `static const float w3[4] = {…};` `onHelper` hears the macros that infinities need. */
export function weightArray(name: string, b: ProgramBuffer, data: Tensor, onHelper: (name: string) => void): string {
  const type = STORED.find((t) => t === b.dtype) ?? unnamedStorage(b);
  const lines: string[] = [];
  let line = ' ';
  for (const value of data.data as Iterable<number | bigint>) {
    const text = useHelpers(constant(value, type), onHelper);
    if (line.length + text.length > LINE) {
      lines.push(line);
      line = ' ';
    }
    line += ` ${text},`;
  }
  if (line !== ' ') lines.push(line);
  const size = Math.max(1, data.data.length);
  const head = `static const ${storageType(b.dtype)} ${name}[${size}] ALIGNED16 =`;
  return `/* ${commentText(b.name)}: ${b.dtype}[${data.shape.join(', ')}] */\n${head} {\n${lines.join('\n') || '  0'}\n};`;
}

/** How types without arithmetic of their own (f16, i4, …) are written down: as the integers that hold them. */
const unnamedStorage = (b: ProgramBuffer): StoredType =>
  DTYPE_INFO[b.dtype].bytes === 2 ? 'u16' : b.dtype === 'i4' || b.dtype === 'i2' ? 'i8' : 'u8';

/** All constants at their offsets, little-endian. */
export function weightBytes(program: Program): Uint8Array {
  const bytes = new Uint8Array(program.weightBytes);
  for (const { name, place } of program.buffers) {
    if (place.kind !== 'const') continue;
    const { data } = place.data;
    invariant(ArrayBuffer.isView(data), `the constant ${name} has no bytes`);
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), place.offset);
  }
  return bytes;
}

export const weightAssembly = (
  prefix: string,
): string => `/* The weights of ${prefix}, linked into the program. Assembled where ${prefix}.bin can be found (-Wa,-I,DIR). */
#if defined(__APPLE__)
  .const
  .globl _${prefix}_weights
  .p2align 6
_${prefix}_weights:
#else
  .section .rodata
  .globl ${prefix}_weights
  .p2align 6
${prefix}_weights:
#endif
  .incbin "${prefix}.bin"
#if defined(__ELF__)
  .section .note.GNU-stack, "", %progbits
#endif
`;
