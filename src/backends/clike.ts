// The walker: prints a legalized kernel as the statements of a C-like language, with the cells of its Lang.
// What it decides itself: names, which shared nodes become constants, where arithmetic provably cannot wrap, and what is
// unused. Expressions live in clike-expr.ts; the function's head is the backend's.

import { type BufferParam, type Kernel, type Stmt, VECTORS } from '../ir/kernel.js';
import { type ConstExpr, type Expr, load, op, variable } from '../ir/scalar.js';
import { invariant, never } from '../support/errors.js';
import { atom, fill, type Text, useHelpers } from './cell.js';
import { createExprPrinter, type ExprPrinter } from './clike-expr.js';
import { createRanges, type Ranges } from './int-range.js';
import { computeType, type Lang, type StoredType, storedType } from './lang.js';
import { createNames, type Names } from './names.js';
import { findShared } from './sharing.js';
import { findUses, sumsOf, type Uses } from './uses.js';

export interface PrintedKernel {
  readonly params: readonly { readonly name: string; readonly type: StoredType; readonly param: BufferParam }[];
  readonly syms: readonly string[];
  /** Statements, indented one level (two spaces). */
  readonly lines: readonly string[];
  readonly hasLocals: boolean;
}

export interface Local {
  readonly name: string;
  readonly type: StoredType;
}

/** Everything the printing of one kernel shares. */
interface Walk {
  readonly lang: Lang;
  readonly names: Names;
  readonly ranges: Ranges;
  readonly uses: Uses;
  readonly slots: Map<number, Local>;
  readonly vars: Map<string, string>;
  readonly hoisted: string[];
  /** Names of constants that values are compared with, by how they are spelled. */
  readonly limits: Map<string, string>;
  /** Declared constants, in order. */
  readonly constants: { readonly name: string; readonly line: string }[];
  readonly exprs: ExprPrinter;
  readonly onHelper: (name: string) => void;
  out: string[];
  depth: number;
  inLocalLoop: boolean;
  /** Whether the statement is in a loop without others. */
  inInnermostLoop: boolean;
}

/** Prints the body of `kernel`; `onHelper` hears the helper functions it calls. */
export function printKernel(kernel: Kernel, lang: Lang, onHelper: (name: string) => void): PrintedKernel {
  const names = createNames(lang.reserved);
  const slots = new Map<number, Local>();
  const vars = new Map<string, string>();
  const params = kernel.params.map((param) => ({
    name: names.fresh(param.name),
    type: storedType(param.dtype),
    param,
  }));
  params.forEach((p, slot) => void slots.set(slot, p));
  for (const sym of kernel.syms) vars.set(sym.name, names.fresh(sym.name));
  if (lang.vectors) vars.set(VECTORS, lang.vectors);
  const ranges = createRanges(kernel.syms, (slot) => slots.get(slot)?.type);
  const w: Walk = {
    lang,
    names,
    ranges,
    uses: findUses(kernel),
    slots,
    vars,
    hoisted: [],
    limits: new Map(),
    constants: [],
    exprs: createExprPrinter({
      lang,
      names,
      ranges,
      slots,
      vars,
      onHelper,
      declare: (e, name, text) => declare(w, e, name, text),
      limit: (e) => limitName(w, e),
    }),
    onHelper,
    out: [],
    depth: 1,
    inLocalLoop: false,
    inInnermostLoop: false,
  };
  printBody(w, kernel.body);
  const syms = kernel.syms.map((s) => vars.get(s.name) as string);
  const lines = dropIdle(w, [...w.hoisted, ...w.out], [...params.map((p) => p.name), ...syms]);
  return { params, syms, lines, hasLocals: slots.size > params.length };
}

/** Limits are declared once, at the top. */
function limitName(w: Walk, e: ConstExpr): string | null {
  const cell = e.dtype === 'f32' ? w.lang.limit?.(w.lang.constant(e.value, e.dtype)) : undefined;
  if (cell === undefined) return null;
  const known = w.limits.get(cell);
  if (known !== undefined) return known;
  const name = w.names.fresh('limit');
  w.limits.set(cell, name);
  w.hoisted.push(`  ${w.lang.declare('f32', 1, name, useHelpers(cell, w.onHelper), false)}`);
  return name;
}

const emit = (w: Walk, line: string): void => void w.out.push('  '.repeat(w.depth) + line);

/** Declares `name`, whose value is `text`; a constant that turns out not to be used vanishes again (see dropIdle). */
function declare(w: Walk, e: Expr, name: string, text: string, mutable = false): void {
  const narrow = e.lanes > 1 && e.dtype !== 'i1';
  const type = narrow ? storedType(e.dtype) : computeType(e.dtype);
  const line = w.lang.declare(type, e.lanes, name, text, mutable);
  if (!mutable) w.constants.push({ name, line });
  emit(w, line);
}

const WORDS = /(?<![\w.])[A-Za-z_]\w*/g;

/** Removes constants that nothing reads, and marks parameters and local storage that nothing mentions. */
function dropIdle(w: Walk, lines: readonly string[], params: readonly string[]): readonly string[] {
  const mentions = new Map<string, number>();
  const count = (text: string, by: number): void => {
    for (const [word] of text.matchAll(WORDS)) mentions.set(word, (mentions.get(word) ?? 0) + by);
  };
  for (const line of lines) count(line, 1);
  const dropped = new Set<string>();
  for (const { name, line } of w.constants.reverse()) {
    if (mentions.get(name) !== 1) continue;
    dropped.add(line);
    count(line, -1);
  }
  const idle = params.filter((name) => !mentions.get(name)).map((name) => w.lang.unused(name));
  return [...idle.filter(Boolean).map((l) => `  ${l}`), ...lines.filter((l) => !dropped.has(l.trimStart()))];
}

function printBody(w: Walk, body: readonly Stmt[]): void {
  for (const stmt of body) printStmt(w, stmt);
}

function printBlock(w: Walk, body: readonly Stmt[]): void {
  w.depth++;
  printBody(w, body);
  w.depth--;
}

/** Prints the expressions of one statement; nodes they share are declared just before it. */
function exprs(w: Walk, ...roots: Expr[]): Text[] {
  return w.exprs.print(roots, findShared(roots));
}

function printStmt(w: Walk, s: Stmt): void {
  switch (s.s) {
    case 'for':
      printFor(w, s);
      break;
    case 'while':
      printWhile(w, s.cond, s.body);
      break;
    case 'if':
      printIf(w, s);
      break;
    case 'break':
      emit(w, 'break;');
      break;
    case 'let':
      printLet(w, s);
      break;
    case 'set':
      printSet(w, s.var, s.value);
      break;
    case 'store':
      printStore(w, s.buf, s.index, s.value);
      break;
    case 'atomic':
      printAtomic(w, s);
      break;
    case 'alloc':
      printAlloc(w, s);
      break;
    case 'barrier':
      invariant(!w.inLocalLoop, 'a barrier inside a loop over the invocations of a group');
      if (w.lang.barrier) emit(w, w.lang.barrier);
      break;
    case 'intrin':
      printIntrin(w, s);
      break;
    default:
      never(s, 'statement');
  }
}

function printIntrin(w: Walk, s: Stmt & { s: 'intrin' }): void {
  const marks = w.lang.intrin?.(
    s.name,
    exprs(w, ...s.args).map((x) => x.text),
  );
  if (marks) emit(w, marks[0]);
  printBody(w, s.body);
  if (marks) emit(w, marks[1]);
}

function printFor(w: Walk, s: Stmt & { s: 'for' }): void {
  const [lo, hi] = exprs(w, s.lo, s.hi) as [Text, Text];
  w.ranges.bind(s.var, { lo: w.ranges.of(s.lo).lo, hi: w.ranges.of(s.hi).hi - 1 });
  let limit = hi.level >= 2 ? hi.text : `(${hi.text})`;
  if (!w.uses.isStable(s.hi)) {
    limit = w.names.fresh(`${s.var}_end`);
    declare(w, s.hi, limit, hi.text);
  }
  const name = w.names.fresh(s.var);
  w.vars.set(s.var, name);
  const innermost = !s.body.some((b) => containsLoop(b));
  const { step, mode } = s;
  const steps = s.lo.k === 'const' && s.hi.k === 'const' ? (Number(s.hi.value) - Number(s.lo.value)) / step : null;
  const head = { name, lo: lo.text, hi: limit, step, mode, innermost, sums: sumsOf(s), steps };
  for (const line of w.lang.loop(head)) emit(w, useHelpers(line, w.onHelper));
  const { inLocalLoop, inInnermostLoop } = w;
  w.inLocalLoop ||= s.mode === 'local';
  w.inInnermostLoop = innermost;
  printBlock(w, s.body);
  w.inLocalLoop = inLocalLoop;
  w.inInnermostLoop = inInnermostLoop;
  emit(w, '}');
}

function containsLoop(s: Stmt): boolean {
  if (s.s === 'for' || s.s === 'while') return true;
  if (s.s === 'if') return s.then.some(containsLoop) || s.else.some(containsLoop);
  return s.s === 'intrin' && s.body.some(containsLoop);
}

/** A condition that needs constants of its own is tested inside the loop. */
function printWhile(w: Walk, cond: Expr, body: readonly Stmt[]): void {
  const before = w.out;
  w.out = [];
  w.depth++;
  const [text] = exprs(w, cond) as [Text];
  const needed = w.out;
  w.out = before;
  w.depth--;
  if (needed.length === 0) emit(w, `while (${text.text}) {`);
  else {
    emit(w, 'for (;;) {');
    w.out.push(...needed);
    w.depth++;
    emit(w, `if (!(${text.text})) { break; }`);
    w.depth--;
  }
  printBlock(w, body);
  emit(w, '}');
}

function printIf(w: Walk, s: Stmt & { s: 'if' }): void {
  const [cond] = exprs(w, s.cond) as [Text];
  emit(w, `if (${cond.text}) {`);
  printBlock(w, s.then);
  if (s.else.length > 0) {
    emit(w, '} else {');
    printBlock(w, s.else);
  }
  emit(w, '}');
}

function printLet(w: Walk, s: Stmt & { s: 'let' }): void {
  if (!w.uses.vars.has(s.var)) return;
  const [value] = exprs(w, s.value) as [Text];
  if (!s.mutable) w.ranges.bind(s.var, w.ranges.of(s.value));
  const name = w.names.fresh(s.var);
  w.vars.set(s.var, name);
  const isHeld =
    w.inInnermostLoop && !s.mutable && s.value.k === 'load' && s.value.lanes > 1 && w.uses.repeated.has(s.var);
  const cell = isHeld ? w.lang.vector?.hold?.(s.value.dtype, s.value.lanes) : undefined;
  declare(w, s.value, name, cell ? fill(cell, [value], w.onHelper).text : value.text, s.mutable);
}

function printSet(w: Walk, name: string, value: Expr): void {
  if (!w.uses.vars.has(name)) return;
  const [text] = exprs(w, value) as [Text];
  const target = w.vars.get(name);
  invariant(target !== undefined, `set of the undeclared variable ${name}`);
  emit(w, `${target} = ${text.text};`);
}

function printStore(w: Walk, buf: number, index: Expr, value: Expr): void {
  const local = w.slots.get(buf);
  invariant(local, `store to the undeclared buffer ${buf}`);
  const [at, text] = exprs(w, index, value) as [Text, Text];
  const cell =
    value.lanes > 1
      ? w.exprs.vector().store(value.dtype, local.type, value.lanes)
      : w.lang.store(local.type, computeType(value.dtype));
  emit(w, `${fill(cell, [atom(local.name), at, text], w.onHelper).text};`);
}

/** These targets run one thread: read, combine, write. */
function printAtomic(w: Walk, s: Stmt & { s: 'atomic' }): void {
  const index = s.index.k === 'var' || s.index.k === 'const' ? s.index : variable(`${s.buf}_at`, 'i32');
  if (index !== s.index) {
    const [at] = exprs(w, s.index) as [Text];
    const name = w.names.fresh('at');
    w.vars.set(`${s.buf}_at`, name);
    declare(w, s.index, name, at.text);
  }
  printStore(w, s.buf, index, op(s.op, load(s.buf, [index], s.value.dtype), s.value));
}

function printAlloc(w: Walk, s: Stmt & { s: 'alloc' }): void {
  if (!w.uses.slots.has(s.buf)) return;
  const local = { name: w.names.fresh(s.space === 'register' ? 'r' : 'tile'), type: storedType(s.dtype) };
  w.slots.set(s.buf, local);
  const text = w.lang.allocate.text(local.name, local.type, Math.max(1, s.size), s.space, s.lanes ?? 1);
  if (w.lang.allocate.hoist) w.hoisted.push(`  ${text}`);
  else emit(w, text);
  const idle = w.uses.loaded.has(s.buf) ? '' : w.lang.unused(local.name);
  if (idle) emit(w, idle);
}
