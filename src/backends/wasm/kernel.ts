// One kernel as one function: (buffer pointers…, symbols…) → nothing. Statements walk here, values in expr.ts.
// A `for` is tested at its bottom and enters only when it has something to do; `parallel` and `grid` loops run in order.

import { type Kernel, SHARE, type Stmt, THREAD } from '../../ir/kernel.js';
import { visitStmts } from '../../ir/kernel-walk.js';
import type { Expr } from '../../ir/scalar.js';
import { invariant, never } from '../../support/errors.js';
import { findShared } from '../sharing.js';
import { loadScalar, storeScalar, storeVector, writeAddress } from './access.js';
import { scalarCell, writeCell } from './cells.js';
import { CodeWriter, type Local } from './code.js';
import type { FunctionBody } from './encoder.js';
import { computeType, valueType, writeAs, writeExpr } from './expr.js';
import { isNatural, type KernelState, type Slot, slotOf, variableOf } from './kernel-state.js';
import { neededNames } from './needed.js';
import { advancePointers, closePointers, type ForStmt, openPointers, writeEnd } from './pointers.js';
import { planStorage } from './registers.js';
import { takeClamps } from './saturate.js';
import { onesVector } from './vector-cells.js';

export interface EmittedKernel {
  readonly body: FunctionBody;
  /** Bytes it uses of the scratch area. */
  readonly scratch: number;
}

/** Writes a kernel whose local storage starts at address `scratch`. One with shares takes share and thread last. */
export function emitKernel(kernel: Kernel, scratch: number, relaxed = false): EmittedKernel {
  const own = kernel.shares === undefined ? [] : [SHARE, THREAD];
  const params = [...kernel.params, ...kernel.syms, ...own].map(() => 'i32' as const);
  const c = new CodeWriter(kernel.name, { params, results: [] });
  const storage = planStorage(kernel);
  const slots = new Map<number, Slot>();
  kernel.params.forEach((p, i) => {
    slots.set(i, { kind: 'memory', name: p.name, dtype: p.dtype, pointer: c.param(i) });
  });
  for (const [buf, r] of storage.registers) {
    const elements = new Map([...r.elements].map((e) => [e, c.local(valueType(r.dtype, r.lanes))]));
    slots.set(buf, { kind: 'locals', elements });
  }
  const k = newState(c, slots, findDefinitions(kernel), relaxed);
  kernel.syms.forEach((s, i) => {
    bindSymbol(k, s.name, c.param(kernel.params.length + i));
    if (s.lo >= 0) k.natural.add(s.name);
  });
  own.forEach((name, i) => {
    bindSymbol(k, name, c.param(params.length - own.length + i));
    k.natural.add(name);
  });
  visitStmts(kernel.body, (s) => {
    const offset = s.s === 'alloc' ? storage.offsets.get(s.buf) : undefined;
    if (s.s === 'alloc' && offset !== undefined)
      slots.set(s.buf, { kind: 'memory', name: `local ${s.buf}`, dtype: s.dtype, pointer: scratch + offset });
  });
  writeBody(k, kernel.body);
  return { body: c.finish(), scratch: storage.bytes };
}

export function newState(
  c: CodeWriter,
  slots: Map<number, Slot>,
  definitions: ReadonlyMap<string, Expr>,
  relaxed = false,
): KernelState {
  return {
    c,
    relaxed,
    slots,
    definitions,
    vars: new Map(),
    linear: new Map(),
    natural: new Set(),
    pointers: [],
    needed: null,
    breakLabel: null,
    shared: new Set(),
    computed: new Map(),
  };
}

/** Makes a size symbol readable by its name. */
export function bindSymbol(k: KernelState, name: string, local: Local): void {
  k.vars.set(name, { local, lanes: 1 });
}

/** Immutable i32 variables that are sums and products of immutable ones. Of anything else the name is the shorter term. */
function findDefinitions(kernel: Kernel): ReadonlyMap<string, Expr> {
  const mutable = new Set<string>();
  const found = new Map<string, Expr>();
  visitStmts(kernel.body, (s) => {
    if (s.s !== 'let') return;
    if (s.mutable) mutable.add(s.var);
    else if (s.value.k === 'op' && isPolynomial(s.value, mutable)) found.set(s.var, s.value);
  });
  return found;
}

function isPolynomial(e: Expr, mutable: ReadonlySet<string>): boolean {
  if (e.dtype !== 'i32' || e.lanes > 1) return false;
  if (e.k === 'const') return true;
  if (e.k === 'var') return !mutable.has(e.name);
  if (e.k !== 'op') return false;
  const isShift = e.op === 'shl' && e.args[1]?.k === 'const';
  return (
    (e.op === 'add' || e.op === 'sub' || e.op === 'mul' || isShift) && e.args.every((a) => isPolynomial(a, mutable))
  );
}

/** Variables a body declares end with it; their locals serve again. */
function writeBody(k: KernelState, body: readonly Stmt[]): void {
  const declared: string[] = [];
  for (const s of body) {
    if (s.s === 'let' && !s.mutable && k.needed?.has(s.var) === false) continue;
    if (s.s === 'let') declared.push(s.var);
    writeStmt(k, s);
  }
  for (const name of declared) {
    k.c.free(variableOf(k, name).local);
    k.vars.delete(name);
    k.natural.delete(name);
  }
}

/** Runs `write` with what the expressions share computed once. */
function sharing(k: KernelState, exprs: readonly Expr[], write: () => void): void {
  k.shared = findShared(exprs);
  write();
  k.c.free(...k.computed.values());
  k.computed.clear();
  k.shared = new Set();
}

function writeStmt(k: KernelState, s: Stmt): void {
  switch (s.s) {
    case 'for':
      return writeFor(k, s);
    case 'while':
      return writeWhile(k, s.cond, s.body);
    case 'if':
      return writeIf(k, s.cond, s.then, s.else);
    case 'break':
      invariant(k.breakLabel !== null, `kernel ${k.c.name} breaks outside a loop`);
      return k.c.branch(k.breakLabel, false);
    case 'let':
      return writeLet(k, s.var, s.value, s.mutable);
    case 'set':
      return sharing(k, [s.value], () => {
        const v = variableOf(k, s.var);
        writeAs(k, s.value, v.lanes);
        k.c.set(v.local);
      });
    case 'store':
      return sharing(k, [s.index, s.value], () => writeStore(k, s.buf, s.index, s.value));
    case 'atomic':
      return sharing(k, [s.index, s.value], () => writeAtomic(k, s));
    case 'alloc':
      return;
    case 'barrier':
      return invariant(false, `kernel ${k.c.name} has a barrier, which only GPU kernels do`);
    case 'intrin':
      return writeBody(k, s.body);
    default:
      never(s, 'statement');
  }
}

function writeLet(k: KernelState, name: string, value: Expr, mutable: boolean): void {
  if (!mutable && value.dtype === 'i32' && isNatural(k, value)) k.natural.add(name);
  const local = k.c.local(valueType(value.dtype, value.lanes));
  sharing(k, [value], () => {
    writeExpr(k, value);
    k.c.set(local);
  });
  k.vars.set(name, { local, lanes: value.lanes });
}

const constantOf = (e: Expr): number | null => (e.k === 'const' ? Number(e.value) : null);

/** block { i = lo; if (i >= hi) leave; pointers; loop { body; advance; if (i < hi) again } } */
function writeFor(k: KernelState, s: ForStmt): void {
  const [lo, hi] = [constantOf(s.lo), constantOf(s.hi)];
  const sure = lo !== null && hi !== null;
  if (sure && lo >= hi) return;
  const c = k.c;
  const i = c.local('i32');
  const limit = hi === null ? c.local('i32') : null;
  const writeLimit = (): void => (limit ? c.get(limit) : c.i32(hi ?? 0));
  if (limit) {
    writeExpr(k, s.hi);
    c.set(limit);
  }
  if (isNatural(k, s.lo)) k.natural.add(s.var);
  const block = c.open('block');
  writeExpr(k, s.lo);
  if (sure) c.set(i);
  else {
    c.tee(i);
    writeLimit();
    c.op('i32.ge_s');
    c.branch(block, true);
  }
  k.vars.set(s.var, { local: i, lanes: 1 });
  writeLoop(k, s, block, i, writeLimit);
  c.close();
  k.vars.delete(s.var);
  k.natural.delete(s.var);
  c.free(i, ...(limit ? [limit] : []));
}

function writeLoop(k: KernelState, s: ForStmt, block: number, i: Local, writeLimit: () => void): void {
  const c = k.c;
  const outer = { pointers: k.pointers, needed: k.needed, breakLabel: k.breakLabel };
  const pointers = openPointers(k, s, (e) => writeExpr(k, e));
  k.pointers = pointers;
  k.needed = neededNames(k, s.body);
  k.breakLabel = block;
  const counting = k.needed.has(s.var) ? null : writeEnd(k, s, pointers);
  const loop = c.open('loop');
  writeBody(k, s.body);
  advancePointers(k, pointers);
  if (counting) {
    c.get(counting.pointer);
    c.get(counting.end);
    c.op('i32.ne');
  } else {
    c.get(i);
    c.i32(s.step);
    c.op('i32.add');
    c.tee(i);
    writeLimit();
    c.op('i32.lt_s');
  }
  c.branch(loop, true);
  c.close();
  closePointers(k, pointers);
  if (counting) c.free(counting.end);
  Object.assign(k, outer);
}

function writeWhile(k: KernelState, cond: Expr, body: readonly Stmt[]): void {
  if (cond.k === 'const' && !cond.value) return;
  const c = k.c;
  const outer = k.breakLabel;
  const block = c.open('block');
  const loop = c.open('loop');
  if (cond.k !== 'const') {
    sharing(k, [cond], () => writeExpr(k, cond));
    c.op('i32.eqz');
    c.branch(block, true);
  }
  k.breakLabel = block;
  writeBody(k, body);
  k.breakLabel = outer;
  c.branch(loop, false);
  c.close();
  c.close();
}

function writeIf(k: KernelState, cond: Expr, then: readonly Stmt[], otherwise: readonly Stmt[]): void {
  sharing(k, [cond], () => writeExpr(k, cond));
  k.c.open('if');
  writeBody(k, then);
  if (otherwise.length > 0) {
    k.c.else();
    writeBody(k, otherwise);
  }
  k.c.close();
}

function writeStore(k: KernelState, buf: number, index: Expr, value: Expr): void {
  const slot = slotOf(k, buf);
  if (slot.kind === 'locals') {
    const at = slot.elements.get(constantOf(index) ?? -1);
    invariant(at, `kernel ${k.c.name} writes an element its register buffer has not`);
    writeExpr(k, value);
    return k.c.set(at);
  }
  const offset = writeAddress(k, buf, slot, index, (e) => writeExpr(k, e));
  const left = takeClamps(value, slot.dtype, (x) => k.shared.has(x));
  writeExpr(k, left.value);
  if (value.lanes === 1) return storeScalar(k, slot, computeType(value.dtype), offset);
  if (value.dtype === 'i1') {
    k.c.v128(onesVector('i8', value.lanes));
    k.c.op('v128.and');
  }
  storeVector(k, slot, value.lanes, offset, left.fits);
}

/** One thread runs a module, so an atomic update is a plain one. */
function writeAtomic(k: KernelState, s: Extract<Stmt, { s: 'atomic' }>): void {
  const slot = slotOf(k, s.buf);
  invariant(slot.kind === 'memory', `kernel ${k.c.name} updates a register buffer atomically`);
  const type = computeType(s.value.dtype);
  const address = k.c.local('i32');
  const offset = writeAddress(k, s.buf, slot, s.index, (e) => writeExpr(k, e));
  k.c.tee(address);
  k.c.get(address);
  loadScalar(k, slot, type, offset);
  writeExpr(k, s.value);
  writeCell(k.c, scalarCell(s.op, type));
  storeScalar(k, slot, type, offset);
  k.c.free(address);
}
