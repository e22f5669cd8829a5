// Token ids → text, for byte-pair vocabularies in the SentencePiece style (Llama, Moonshine): U+2581 is a space, <0xHH>
// a byte of UTF-8 that no piece covers. Encoding text is not needed to transcribe and is not here.

import { CompileError } from '../support/errors.js';

export interface Tokenizer {
  /** By id; ids without a piece print nothing. */
  readonly pieces: readonly (string | undefined)[];
  /** Control tokens, which print nothing. */
  readonly special: ReadonlySet<number>;
}

const WORD_START = /\u2581/g;
const BYTE = /^<0x([0-9A-F]{2})>$/i;
const LARGEST_ID = 1 << 20;

/** Reads a tokenizer.json as Hugging Face writes it. E403 where it is something else. */
export function readTokenizer(json: string, file: string): Tokenizer {
  const { vocab, added } = parseTokenizer(json, file);
  const pieces: (string | undefined)[] = [];
  for (const [piece, id] of [...vocab, ...added.map((t) => [t.content, t.id] as const)]) {
    if (!Number.isInteger(id) || id < 0 || id > LARGEST_ID) throw malformed(file, `gives "${piece}" the id ${id}`);
    pieces[id] = piece;
  }
  return { pieces, special: new Set(added.filter((t) => t.special).map((t) => t.id)) };
}

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
}

interface ParsedTokenizer {
  readonly vocab: readonly (readonly [string, number])[];
  readonly added: readonly AddedToken[];
}

function parseTokenizer(json: string, file: string): ParsedTokenizer {
  let root: unknown;
  try {
    root = JSON.parse(json);
  } catch (cause) {
    throw malformed(file, `is not JSON: ${(cause as Error).message}`);
  }
  const { model, added_tokens: added = [] } = (root ?? {}) as {
    model?: Record<string, unknown>;
    added_tokens?: unknown;
  };
  const vocab = model?.vocab;
  if (!vocab || typeof vocab !== 'object' || Array.isArray(vocab)) throw malformed(file, 'has no model.vocab');
  if (model.byte_fallback !== true) throw malformed(file, 'is not a BPE vocabulary with byte fallback');
  if (!Array.isArray(added)) throw malformed(file, 'has added_tokens that are no list');
  return { vocab: Object.entries(vocab) as [string, number][], added: added as AddedToken[] };
}

const malformed = (file: string, why: string): CompileError =>
  new CompileError('E403', `the tokenizer "${file}" ${why}`);

/** The 32,000 pieces of Llama's vocabulary, which Moonshine shares: `<unk>`, `<s>` and `</s>` come first. */
export const llamaTokenizer = (pieces: readonly string[]): Tokenizer => ({ pieces, special: new Set([0, 1, 2]) });

/** The text of `ids` without the space every sentence starts with; bytes that are no UTF-8 become U+FFFD. */
export function decodeTokens({ pieces, special }: Tokenizer, ids: readonly number[]): string {
  const encoder = new TextEncoder();
  const bytes = ids.flatMap((id) => {
    const piece = pieces[id];
    if (piece === undefined || special.has(id)) return [];
    const byte = BYTE.exec(piece)?.[1];
    return byte ? [Number.parseInt(byte, 16)] : [...encoder.encode(piece.replace(WORD_START, ' '))];
  });
  return new TextDecoder().decode(Uint8Array.from(bytes)).replace(/^ /, '');
}
