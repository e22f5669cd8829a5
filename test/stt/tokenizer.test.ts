// Token ids to text: pieces, bytes, control tokens, and what is not a tokenizer.

import { describe, expect, it } from 'vitest';
import { decodeTokens, llamaTokenizer, readTokenizer } from '../../src/stt/tokenizer.js';

const file = (model: object, added: readonly object[] = []): string =>
  JSON.stringify({ added_tokens: added, model: { type: 'BPE', byte_fallback: true, ...model } });

const vocab = { '<unk>': 0, '<s>': 1, '</s>': 2, '\u2581Hello': 3, '\u2581wor': 4, ld: 5, '<0xC3>': 6, '<0xA9>': 7 };
const added = [
  { id: 1, content: '<s>', special: true },
  { id: 2, content: '</s>', special: true },
  { id: 8, content: '<<ST_0>>', special: true },
];

describe('tokenizer', () => {
  const tokenizer = readTokenizer(file({ vocab }, added), 'tokenizer.json');

  it('joins pieces, and drops control tokens and the space a sentence starts with', () => {
    expect(decodeTokens(tokenizer, [1, 3, 4, 5, 8, 2])).toBe('Hello world');
  });

  it('drops one leading space only', () => {
    const spaces = readTokenizer(file({ vocab: { '\u2581\u2581a': 0 } }), 'spaces');
    expect(decodeTokens(spaces, [0])).toBe(' a');
  });

  it('puts UTF-8 together from byte tokens', () => {
    expect(decodeTokens(tokenizer, [4, 6, 7])).toBe('wor\u00e9');
    expect(decodeTokens(tokenizer, [4, 6])).toBe('wor\ufffd');
  });

  it('prints nothing for ids it does not know', () => {
    expect(decodeTokens(tokenizer, [3, 31999, 4, 5])).toBe('Hello world');
    expect(decodeTokens(llamaTokenizer(['<unk>', '<s>', '</s>', '\u2581a']), [1, 3, 32767, 2])).toBe('a');
  });

  it.each([
    ['{', /is not JSON/],
    ['null', /has no model.vocab/],
    [file({}), /has no model.vocab/],
    [file({ vocab, byte_fallback: false }), /byte fallback/],
    [file({ vocab: { a: -1 } }), /gives "a" the id -1/],
    [file({ vocab: { a: 1e12 } }), /the id 1000000000000/],
    [JSON.stringify({ model: { vocab, byte_fallback: true }, added_tokens: 3 }), /no list/],
  ])('refuses %s', (json, message) => {
    expect(() => readTokenizer(json, 'x.json')).toThrow(message);
  });
});
