// Writes loop programs by hand: buildKernel(b, 'nonzero', [x], (k) => { … k.for(0, n, (i) => k.store(out, [i], …)) … }).
// Buffers are indexed by one expression per axis, variables get unique names, any element type and macro may be used.
// Sizes only the data know: `k.count` is an extra i64 output that defines a symbol, and that symbol stands as the first
// size of the outputs it counts. Such outputs are written from their start, so they are contiguous at any count; memory
// is planned for the count's upper bound. Declare outputs and counts before scratch: slots follow the declarations.

import type { DType } from '../support/dtype.js';
import { invariant } from '../support/errors.js';
import type { Builder } from './builder.js';
import { type Dim, dimSyms, product, type Sym, substituteDim, symDim, upperBound } from './dim.js';
import { e, type Operand } from './expr.js';
import type { BufferParam, LoopMode, Stmt } from './kernel.js';
import { kernelDims } from './kernel-walk.js';
import { cast, constant, dimExpr, type Expr, i32, load, variable } from './scalar.js';
import type { Bind, TensorType, Value } from './tensor.js';

/** A buffer a kernel reads or writes: row-major over `shape`. */
export interface Buf {
  readonly slot: number;
  readonly dtype: DType;
  readonly shape: readonly Dim[];
}

/** A size the kernel finds out. */
export interface Count {
  readonly dim: Dim;
  /** Gives the size; every kernel does so exactly once, at its end. */
  readonly store: (value: Expr) => void;
}

type Body = () => void;

export interface KernelBuilder {
  readonly inputs: readonly Buf[];
  output(dtype: DType, shape: readonly Dim[]): Buf;
  /** A size between 0 and `most`. */
  count(hint: string, most: Dim): Count;
  /** Memory for the call; contents start undefined. */
  scratch(name: string, dtype: DType, shape: readonly Dim[]): Buf;
  for(lo: Operand, hi: Operand, body: (i: Expr) => void, options?: { name?: string; mode?: LoopMode }): void;
  /** One loop per size, outermost first. */
  forEach(shape: readonly Dim[], body: (index: readonly Expr[]) => void): void;
  while(cond: Expr, body: Body): void;
  if(cond: Expr, then: Body, otherwise?: Body): void;
  /** Leaves the innermost for or while. */
  break(): void;
  /** Names a value: it is computed here and once. An expression is otherwise computed wherever it is used, after any store. */
  let(value: Expr, name?: string): Expr;
  /** A variable `set` may change. */
  mut(value: Expr, name?: string): Expr;
  set(variable: Expr, value: Operand): void;
  load(buf: Buf, index: readonly Operand[]): Expr;
  store(buf: Buf, index: readonly Operand[], value: Operand): void;
}

interface Draft {
  readonly params: BufferParam[];
  readonly types: TensorType[];
  readonly binds: Bind[];
  readonly bounds: Map<string, number>;
  /** Outputs the caller gets back, by position among all outputs. */
  readonly visible: number[];
  body: Stmt[];
}

/** Inserts a kernel node over `inputs`; returns its outputs in the order they were declared, counts left out. */
export function buildKernel(
  b: Builder,
  name: string,
  inputs: readonly Value[],
  write: (k: KernelBuilder) => void,
): readonly Value[] {
  const d: Draft = { params: [], types: [], binds: [], bounds: new Map(), visible: [], body: [] };
  for (const [at, v] of inputs.entries())
    d.params.push({ name: `x${at}`, dtype: v.type.dtype, access: 'read', size: product(v.type.shape) });
  write(kernelBuilder(b, d, inputs));
  const syms = symsOf(d);
  const kernel = { name, params: d.params, syms, body: d.body };
  const outputs = b.node({ kind: 'kernel', kernel }, inputs, d.types, d.binds);
  return d.visible.map((k) => outputs[k] as Value);
}

function symsOf(d: Draft): readonly Sym[] {
  const found = new Map<string, Sym>();
  for (const dim of [...kernelDims(d.body), ...d.params.map((p) => p.size)]) dimSyms(dim, found);
  for (const bind of d.binds) {
    invariant(!found.has(bind.sym.name), `a kernel reads the size ${bind.sym.name} before it has stored it`);
  }
  return [...found.values()].sort((x, y) => (x.name < y.name ? -1 : 1));
}

function kernelBuilder(b: Builder, d: Draft, inputs: readonly Value[]): KernelBuilder {
  let names = 0;
  const changing = new Set<string>();
  const fresh = (hint: string): string => `${hint}${names++}`;
  const operand = (x: Operand, dtype: DType): Expr => (typeof x === 'object' ? x : constant(x, dtype));
  const emit = (s: Stmt): void => {
    d.body.push(s);
  };
  const nested = (write: Body): readonly Stmt[] => {
    const outer = d.body;
    d.body = [];
    try {
      write();
      return d.body;
    } finally {
      d.body = outer;
    }
  };
  const addBuffer = (param: BufferParam, shape: readonly Dim[]): Buf => {
    invariant(
      param.access === 'scratch' || d.params.at(-1)?.access !== 'scratch',
      'outputs are declared before scratch',
    );
    return { slot: d.params.push(param) - 1, dtype: param.dtype, shape };
  };
  const addOutput = (dtype: DType, shape: readonly Dim[]): Buf => {
    const counted = shape.slice(1).some((x) => [...dimSyms(x).keys()].some((s) => d.bounds.has(s)));
    invariant(!counted, 'only the first size of an output may be a count');
    d.types.push({ dtype, shape });
    const size = product(shape.map((x) => substituteDim(x, (s) => d.bounds.get(s.name))));
    return addBuffer({ name: `y${d.types.length - 1}`, dtype, access: 'write', size }, shape);
  };
  const flat = (buf: Buf, index: readonly Operand[]): Expr => {
    invariant(index.length === buf.shape.length, `${index.length} indices for a buffer of rank ${buf.shape.length}`);
    return index.reduce<Expr>(
      (at, x, n) => e.add(n === 0 ? at : e.mul(at, dimExpr(buf.shape[n] as Dim)), operand(x, 'i32')),
      i32(0),
    );
  };
  const declare = (value: Expr, name: string, mutable: boolean): Expr => {
    const v = fresh(name);
    emit({ s: 'let', var: v, value, mutable });
    if (mutable) changing.add(v);
    return variable(v, value.dtype);
  };

  const k: KernelBuilder = {
    inputs: inputs.map((v, slot) => ({ slot, dtype: v.type.dtype, shape: v.type.shape })),
    output(dtype, shape) {
      d.visible.push(d.types.length);
      return addOutput(dtype, shape);
    },
    count(hint, most) {
      const sym = b.freshSym(hint, 0, upperBound(most, `the number of results of ${hint}`));
      const buf = addOutput('i64', []);
      if (sym.hi > 0) {
        d.bounds.set(sym.name, sym.hi);
        d.binds.push({ output: d.types.length - 1, sym });
      }
      return { dim: symDim(sym), store: (value) => k.store(buf, [], cast(value, 'i64')) };
    },
    scratch: (name, dtype, shape) =>
      addBuffer({ name: fresh(name), dtype, access: 'scratch', size: product(shape) }, shape),
    for(lo, hi, body, { name = 'i', mode = 'serial' } = {}) {
      const v = fresh(name);
      const inner = nested(() => body(variable(v, 'i32')));
      emit({ s: 'for', var: v, lo: operand(lo, 'i32'), hi: operand(hi, 'i32'), step: 1, mode, body: inner });
    },
    forEach(shape, body) {
      const go = (index: readonly Expr[]): void => {
        if (index.length === shape.length) body(index);
        else k.for(0, dimExpr(shape[index.length] as Dim), (i) => go([...index, i]));
      };
      go([]);
    },
    while: (cond, body) => emit({ s: 'while', cond, body: nested(body) }),
    if(cond, then, otherwise = () => {}) {
      const [yes, no] = [nested(then), nested(otherwise)];
      emit({ s: 'if', cond, then: yes, else: no });
    },
    break: () => emit({ s: 'break' }),
    let(value, name = 'v') {
      const fixed = value.k === 'const' || (value.k === 'var' && !changing.has(value.name));
      return fixed ? value : declare(value, name, false);
    },
    mut: (value, name = 'm') => declare(value, name, true),
    set(target, value) {
      invariant(target.k === 'var' && changing.has(target.name), 'only a variable made by `mut` can be set');
      emit({ s: 'set', var: target.name, value: operand(value, target.dtype) });
    },
    load(buf, index) {
      const param = d.params[buf.slot] as BufferParam;
      if (param.access === 'write') d.params[buf.slot] = { ...param, access: 'readwrite' };
      return load(buf.slot, [flat(buf, index)], buf.dtype);
    },
    store: (buf, index, value) =>
      emit({ s: 'store', buf: buf.slot, index: flat(buf, index), value: operand(value, buf.dtype) }),
  };
  return k;
}
