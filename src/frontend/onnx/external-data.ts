// Tensors whose bytes are in another file: `location`, `offset` and `length` as strings. A location must stay below the
// model's folder; the length must be what the tensor's shape says. The other file is opened on the first read.

import { CompileError, type ErrorCode } from '../../support/errors.js';

/** Returns a neighbouring file's bytes, or throws. The result is kept, so each file is read once. */
export type ExternalFiles = (location: string) => Uint8Array;

type Fail = (code: ErrorCode, message: string, offset?: number) => CompileError;

/** `open` as the caller gave it, remembering what it returned. */
export function rememberFiles(open: ExternalFiles | undefined): ExternalFiles {
  const files = new Map<string, Uint8Array>();
  return (location) => {
    const known = files.get(location);
    if (known) return known;
    if (!open) throw new Error('the model was read without access to other files');
    const { buffer, byteOffset, byteLength } = open(location);
    const bytes = new Uint8Array(buffer, byteOffset, byteLength);
    files.set(location, bytes);
    return bytes;
  };
}

/** Checks what can be checked without the other file; the result finds the bytes. Throws E104. */
export function locateExternal(
  entries: readonly { readonly key?: string | null; readonly value?: string | null }[],
  need: number,
  files: ExternalFiles,
  fail: Fail,
): () => Uint8Array {
  const text = (key: string): string | undefined => entries.find((entry) => entry.key === key)?.value ?? undefined;
  const location = text('location') ?? '';
  if (!staysBelow(location)) throw fail('E104', `the location "${location}" is not a path below the model's folder`);
  const offset = readCount(text('offset') ?? '0', 'offset', fail);
  const length = readCount(text('length') ?? String(need), 'length', fail);
  if (length !== need) throw fail('E104', `the shape needs ${need} bytes but the external data has ${length}`);
  return () => {
    const bytes = openFile(location, files, fail);
    if (offset > bytes.length || length > bytes.length - offset) {
      throw fail(
        'E104',
        `bytes ${offset} to ${offset + length} of "${location}" are wanted but it has ${bytes.length}`,
      );
    }
    return bytes.subarray(offset, offset + length);
  };
}

function openFile(location: string, files: ExternalFiles, fail: Fail): Uint8Array {
  try {
    return files(location);
  } catch (cause) {
    if (cause instanceof CompileError) throw cause;
    throw fail('E104', `the file "${location}" cannot be read (${cause instanceof Error ? cause.message : cause})`);
  }
}

function staysBelow(location: string): boolean {
  if (location === '' || location.includes('\0') || /^([a-zA-Z]:|[\\/])/.test(location)) return false;
  return !location.split(/[\\/]/).includes('..');
}

function readCount(text: string, what: string, fail: Fail): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(value)) throw fail('E104', `the external data's ${what} "${text}" is not a number of bytes`);
  return value;
}
