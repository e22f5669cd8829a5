// Loop programs from text (see print-kernel.ts). Types of variables and slots are collected in the order of the text,
// as the printer did.

import type { Sym } from './dim.js';
import type { BufferParam, Kernel, LoopMode, Stmt } from './kernel.js';
import { parseDim, parseDType, parseExpr, type Syms } from './parse-expr.js';
import { tokenize, type Tokens } from './parse-tokens.js';
import { type KernelTypes, kernelTypes } from './print-kernel.js';
import type { Expr } from './scalar.js';

/** One kernel alone. */
export function parseKernelText(text: string, syms: Syms = new Map()): Kernel {
  const t = tokenize(text);
  const k = parseKernel(t, syms);
  if (t.peek().kind !== 'end') t.fail('expected the end');
  return k;
}

const ACCESS = ['read', 'write', 'readwrite', 'scratch'] as const;
const MODES: readonly LoopMode[] = ['parallel', 'vector', 'grid', 'local'];

/** One of some words. */
export function parseWord<T extends string>(t: Tokens, words: readonly T[], what: string): T {
  const at = t.peek();
  const text = t.one('word', what);
  return words.find((w) => w === text) ?? t.fail(`expected ${what}: ${words.join(', ')}`, at);
}

export function parseKernel(t: Tokens, syms: Syms): Kernel {
  t.expect('kernel');
  const name = t.name('a name');
  const params = t.list('(', () => parseParam(t, syms), ')');
  const used = t.take('syms') ? t.list('(', () => parseSym(t, syms), ')') : [];
  const s: Scope = { t, syms, types: kernelTypes(params, used), loops: 0 };
  return { name, params, syms: used, body: parseBody(s) };
}

function parseParam(t: Tokens, syms: Syms): BufferParam {
  const name = t.name('a buffer');
  t.expect(':');
  const access = parseWord(t, ACCESS, 'an access');
  const dtype = parseDType(t);
  t.expect('[');
  const size = parseDim(t, syms);
  t.expect(']');
  return { name, dtype, access, size };
}

export function parseSym(t: Tokens, syms: Syms): Sym {
  const at = t.peek();
  const name = t.name('a size symbol');
  return syms.get(name) ?? t.fail(`there is no size symbol ${name}`, at);
}

interface Scope {
  readonly t: Tokens;
  readonly syms: Syms;
  readonly types: KernelTypes;
  readonly loops: number;
}

const expression = (s: Scope): Expr => parseExpr({ tokens: s.t, env: s.types, syms: s.syms });

const parseBody = (s: Scope): Stmt[] =>
  s.t.nested(() => {
    const body: Stmt[] = [];
    s.t.expect('{');
    while (!s.t.take('}')) body.push(parseStmt(s));
    return body;
  });

function parseStmt(s: Scope): Stmt {
  const { t } = s;
  const at = t.peek();
  if (at.kind === 'slot') return { s: 'store', ...parsePlace(s), value: expression(s) };
  const word = t.one('word', 'a statement');
  switch (word) {
    case 'for':
      return parseFor(s);
    case 'while':
      return { s: 'while', cond: expression(s), body: parseBody({ ...s, loops: s.loops + 1 }) };
    case 'if': {
      const cond = expression(s);
      const then = parseBody(s);
      return { s: 'if', cond, then, else: t.take('else') ? parseBody(s) : [] };
    }
    case 'let': {
      const mutable = t.is('mut') && t.peek(1).text !== '=';
      if (mutable) t.next();
      const name = t.name('a variable');
      t.expect('=');
      const value = expression(s);
      s.types.variables.set(name, { dtype: value.dtype, lanes: value.lanes });
      return { s: 'let', var: name, value, mutable };
    }
    case 'set': {
      const name = t.name('a variable');
      if (!s.types.variables.has(name)) t.fail(`there is no variable ${name}`, at);
      t.expect('=');
      return { s: 'set', var: name, value: expression(s) };
    }
    case 'atomic': {
      const op = parseWord(t, ['add', 'max', 'min'] as const, 'an operation');
      return { s: 'atomic', op, ...parsePlace(s), value: expression(s) };
    }
    case 'alloc':
      return parseAlloc(s);
    case 'intrin': {
      const name = t.name('a name');
      return { s: 'intrin', name, args: t.list('(', () => expression(s), ')'), body: parseBody(s) };
    }
    case 'break':
      return s.loops > 0 ? { s: 'break' } : t.fail('break outside a loop', at);
    case 'barrier':
      return { s: 'barrier' };
    default:
      return t.fail(`${word} is not a statement`, at);
  }
}

/** `$1[index] =` */
function parsePlace(s: Scope): { buf: number; index: Expr } {
  const at = s.t.peek();
  const buf = Number(s.t.one('slot', 'a buffer'));
  if (s.types.slot(buf) === undefined) s.t.fail(`there is no buffer $${buf}`, at);
  s.t.expect('[');
  const index = expression(s);
  s.t.expect(']');
  s.t.expect('=');
  return { buf, index };
}

function parseFor(s: Scope): Stmt {
  const { t } = s;
  const name = t.name('a variable');
  t.expect('in');
  const lo = expression(s);
  t.expect('..');
  const hi = expression(s);
  const at = t.peek();
  const step = t.take('step') ? t.integer('a step') : 1;
  if (step <= 0) t.fail('a step must be positive', at);
  const mode = MODES.find((m) => t.take(m)) ?? 'serial';
  s.types.variables.set(name, { dtype: 'i32', lanes: 1 });
  return { s: 'for', var: name, lo, hi, step, mode, body: parseBody({ ...s, loops: s.loops + 1 }) };
}

function parseAlloc(s: Scope): Stmt {
  const { t } = s;
  const buf = Number(t.one('slot', 'a buffer'));
  const dtype = parseDType(t);
  t.expect('[');
  const size = t.integer('a size');
  t.expect(']');
  s.types.slots.set(buf, dtype);
  return { s: 'alloc', buf, dtype, size, space: parseWord(t, ['register', 'local'] as const, 'a space') };
}
