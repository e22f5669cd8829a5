// Text IR as a stream of tokens with places. Every complaint of the parsers goes through `fail`: E405 with line and column.

import { CompileError } from '../support/errors.js';

export interface Token {
  readonly kind: 'word' | 'number' | 'string' | 'value' | 'slot' | 'hash' | 'sign' | 'end';
  /** As written; a string's contents, the digits of %1, $1 and #1f. */
  readonly text: string;
  readonly at: number;
}

const TOKEN =
  /(?<space>(?:\s|\/\/[^\n]*)+)|(?<word>[A-Za-z_][A-Za-z0-9_]*)|(?<number>0x[0-9a-f]+|\d+(?:\.\d+)?(?:e[+-]?\d+)?)|(?<string>"(?:[^"\\\n]|\\.)*")|%(?<value>\d+)|\$(?<slot>\d+)|#(?<hash>[0-9a-f]+)|(?<sign>\.\.|[()[\]{}<>,:;=+\-*@])/y;

const KINDS = ['word', 'number', 'string', 'value', 'slot', 'hash', 'sign'] as const;

/** Deeper nesting than any module has: the parsers recurse. */
const MAX_DEPTH = 400;

export interface Tokens {
  readonly peek: (ahead?: number) => Token;
  readonly next: () => Token;
  /** Is the next token this sign or word? */
  readonly is: (text: string) => boolean;
  /** Takes the next token where it is this sign or word. */
  readonly take: (text: string) => boolean;
  /** Takes the next token where it is this sign and touches the one before. */
  readonly takeTouching: (sign: string) => boolean;
  readonly expect: (text: string) => void;
  readonly one: (kind: Token['kind'], what: string) => string;
  /** A count, size or position. */
  readonly integer: (what: string) => number;
  /** A word or a quoted name. */
  readonly name: (what: string) => string;
  readonly list: <T>(open: string, item: () => T, close: string) => T[];
  readonly nested: <T>(f: () => T) => T;
  readonly fail: (message: string, at?: Token) => never;
}

export function tokenize(text: string): Tokens {
  const place = (at: number): string => {
    const before = text.slice(0, at);
    return `line ${before.split('\n').length}, column ${at - before.lastIndexOf('\n')}`;
  };
  const failAt = (message: string, at: number): never => {
    throw new CompileError('E405', `${place(at)}: ${message}`);
  };
  const tokens = scan(text, failAt);
  let next = 0;
  let depth = 0;
  const peek = (ahead = 0): Token => tokens[Math.min(next + ahead, tokens.length - 1)] as Token;
  const describe = (k: Token): string =>
    k.kind === 'end' ? 'the end' : JSON.stringify(text.slice(k.at, k.at + 20).split('\n')[0]);
  const fail = (message: string, at = peek()): never => failAt(message, at.at);
  const t: Tokens = {
    peek,
    next: () => tokens[Math.min(next++, tokens.length - 1)] as Token,
    is: (s) => (peek().kind === 'sign' || peek().kind === 'word') && peek().text === s,
    take: (s) => t.is(s) && !!t.next(),
    takeTouching: (s) => text[peek().at - 1]?.trim() !== '' && t.take(s),
    expect: (s) => void (t.take(s) || fail(`expected ${s}, found ${describe(peek())}`)),
    one: (kind, what) => (peek().kind === kind ? t.next().text : fail(`expected ${what}, found ${describe(peek())}`)),
    integer(what) {
      const negative = t.take('-');
      const at = peek();
      const n = Number(t.one('number', what));
      return Number.isSafeInteger(n) ? (negative ? -n : n) : fail(`expected ${what} as a whole number`, at);
    },
    name: (what) => (peek().kind === 'string' ? t.next().text : t.one('word', what)),
    list<T>(open: string, item: () => T, close: string) {
      const out: T[] = [];
      t.expect(open);
      if (t.take(close)) return out;
      do out.push(item());
      while (t.take(','));
      t.expect(close);
      return out;
    },
    nested(f) {
      if (++depth > MAX_DEPTH) fail(`nested more than ${MAX_DEPTH} deep`);
      const result = f();
      depth--;
      return result;
    },
    fail,
  };
  return t;
}

function scan(text: string, failAt: (message: string, at: number) => never): Token[] {
  const tokens: Token[] = [];
  TOKEN.lastIndex = 0;
  for (let at = 0; at < text.length; ) {
    TOKEN.lastIndex = at;
    const groups = TOKEN.exec(text)?.groups;
    if (!groups) return failAt(`${JSON.stringify(text[at])} is not expected here`, at);
    const kind = KINDS.find((k) => groups[k] !== undefined);
    if (kind)
      tokens.push({
        kind,
        text: kind === 'string' ? unquote(groups.string as string, at, failAt) : (groups[kind] as string),
        at,
      });
    at = TOKEN.lastIndex;
  }
  return [...tokens, { kind: 'end', text: '', at: text.length }];
}

function unquote(text: string, at: number, failAt: (message: string, at: number) => never): string {
  try {
    return JSON.parse(text) as string;
  } catch {
    return failAt(`${text} is not a string`, at);
  }
}
