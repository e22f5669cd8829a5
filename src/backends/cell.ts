// Fills cells (see lang.ts) with operand texts, adding only the parentheses that are needed and that C compilers ask for.
// A filled text knows how tightly it binds; what an operand must bind like is read off its neighbours in the cell.

import { invariant } from '../support/errors.js';

/** 4 atom or call, 3 product or unary, 2 sum, 1 comparison, 0 anything looser. */
export interface Text {
  readonly text: string;
  readonly level: number;
}

export const atom = (text: string): Text => ({ text, level: 4 });

interface Hole {
  readonly arg: number;
  readonly needs: number;
}

interface CompiledCell {
  readonly parts: readonly (string | Hole)[];
  readonly level: number;
  readonly helpers: readonly string[];
}

const compiled = new Map<string, CompiledCell>();

/** `onHelper` hears each helper the cell calls. */
export function fill(cell: string, args: readonly Text[], onHelper: (name: string) => void): Text {
  if (cell === '$0') return args[0] as Text;
  let c = compiled.get(cell);
  if (!c) {
    c = compileCell(cell);
    compiled.set(cell, c);
  }
  c.helpers.forEach(onHelper);
  const text = c.parts.map((p) => (typeof p === 'string' ? p : wrap(args[p.arg], p.needs, cell))).join('');
  return { text, level: c.level };
}

/** `text` with helper marks resolved. */
export const useHelpers = (text: string, onHelper: (name: string) => void): string =>
  text.replace(/@(\w+)/g, (_, name: string) => {
    onHelper(name);
    return name;
  });

function wrap(arg: Text | undefined, needs: number, cell: string): string {
  invariant(arg !== undefined, `the cell "${cell}" lacks an operand`);
  return arg.level >= needs ? arg.text : `(${arg.text})`;
}

function compileCell(cell: string): CompiledCell {
  const parts: (string | Hole)[] = [];
  const helpers: string[] = [];
  const plain = (s: string): string => useHelpers(s, (name) => void helpers.push(name));
  let from = 0;
  for (const m of cell.matchAll(/\$(\d)/g)) {
    if (m.index > from) parts.push(plain(cell.slice(from, m.index)));
    const end = m.index + 2;
    parts.push({
      arg: Number(m[1]),
      needs: Math.max(needsAfter(cell.slice(0, m.index)), needsBefore(cell.slice(end))),
    });
    from = end;
  }
  if (from < cell.length) parts.push(plain(cell.slice(from)));
  return { parts, level: levelOf(cell), helpers };
}

const operatorLevel = (op: string): number =>
  /^[*/%]$/.test(op) ? 3 : /^[+-]$/.test(op) ? 2 : /^(<=?|>=?|[!=]==?)$/.test(op) ? 1 : 0;

/** What an operand beside the binary operator `op` must bind like, on its left or right. */
function needsBeside(op: string, right: boolean): number {
  const level = operatorLevel(op);
  if (level >= 2) return right ? level + 1 : level;
  if (level === 1) return 2;
  if (op === '=' || op === 'return') return 0;
  return /^(&&|\|\||[?:])$/.test(op) ? 1 : 3;
}

function needsAfter(before: string): number {
  if (before === '' || /([([]|, )$/.test(before)) return 0;
  const op = / (\S+) $/.exec(before) ?? /^(\S+) $/.exec(before);
  return op ? needsBeside(op[1] as string, true) : 4;
}

function needsBefore(after: string): number {
  if (after === '' || /^[)\],;]/.test(after)) return 0;
  const op = /^ (\S+) /.exec(after);
  return op ? needsBeside(op[1] as string, false) : 4;
}

/** The loosest operator outside all brackets. */
function levelOf(cell: string): number {
  let flat = cell;
  for (let before = ''; before !== flat; ) {
    before = flat;
    flat = flat.replace(/\([^()]*\)|\[[^[\]]*\]/g, '');
  }
  const operators = [...flat.matchAll(/ (\S+) (?=\S|$)/g)].map((m) => operatorLevel(m[1] as string));
  if (operators.length > 0) return Math.min(...operators);
  const isUnary = /^[-!~+]/.test(cell) || /^\([^()]*\)\S/.test(cell);
  return isUnary ? 3 : 4;
}
