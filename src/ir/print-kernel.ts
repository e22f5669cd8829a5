// Loop programs as text: one statement a line, `for`, `while`, `if` and `intrin` with their bodies in braces.
// Buffers are written by slot ($0, $1 …), as loads and stores have them. parse-kernel.ts reads this back.

import type { DType } from '../support/dtype.js';
import { never } from '../support/errors.js';
import type { Sym } from './dim.js';
import type { BufferParam, Kernel, Stmt } from './kernel.js';
import { printDim, printExpr, printName, type TypeEnv, type VarType } from './print-expr.js';
import type { Expr } from './scalar.js';

/** Types as declared so far, in the order of the text. */
export interface KernelTypes extends TypeEnv {
  readonly slots: Map<number, DType>;
  readonly variables: Map<string, VarType>;
}

/** `syms` are readable as i32 variables of their name once kernels are legal. */
export function kernelTypes(params: readonly BufferParam[], syms: readonly Sym[]): KernelTypes {
  const slots = new Map(params.map((p, k): [number, DType] => [k, p.dtype]));
  const variables = new Map(syms.map((s): [string, VarType] => [s.name, { dtype: 'i32', lanes: 1 }]));
  return { slots, variables, slot: (k) => slots.get(k), variable: (name) => variables.get(name) };
}

/** `kernel name (x0: read f32[n], …) syms(n) { … }`; `indent` is that of the line it starts on. */
export function printKernel(k: Kernel, indent = ''): string {
  const params = k.params.map((p) => `${printName(p.name)}: ${p.access} ${p.dtype}[${printDim(p.size)}]`);
  const syms = k.syms.length > 0 ? ` syms(${k.syms.map((s) => printName(s.name)).join(', ')})` : '';
  return `kernel ${printName(k.name)} (${params.join(', ')})${syms} ${printBody(k.body, kernelTypes(k.params, k.syms), indent)}`;
}

function printBody(body: readonly Stmt[], env: KernelTypes, indent: string): string {
  const lines = body.map((s) => `${indent}  ${printStmt(s, env, `${indent}  `)}\n`);
  return `{\n${lines.join('')}${indent}}`;
}

function printStmt(s: Stmt, env: KernelTypes, indent: string): string {
  const x = (e: Expr): string => printExpr(e, env, indent);
  const block = (body: readonly Stmt[]): string => printBody(body, env, indent);
  switch (s.s) {
    case 'for': {
      const range = `${x(s.lo)} .. ${x(s.hi)}`;
      const mode = s.mode === 'serial' ? '' : ` ${s.mode}`;
      env.variables.set(s.var, { dtype: 'i32', lanes: 1 });
      return `for ${printName(s.var)} in ${range}${s.step === 1 ? '' : ` step ${s.step}`}${mode} ${block(s.body)}`;
    }
    case 'while':
      return `while ${x(s.cond)} ${block(s.body)}`;
    case 'if': {
      const cond = x(s.cond);
      const then = block(s.then);
      return `if ${cond} ${then}${s.else.length > 0 ? ` else ${block(s.else)}` : ''}`;
    }
    case 'let': {
      const value = x(s.value);
      env.variables.set(s.var, { dtype: s.value.dtype, lanes: s.value.lanes });
      return `let ${s.mutable ? 'mut ' : ''}${printName(s.var)} = ${value}`;
    }
    case 'set':
      return `set ${printName(s.var)} = ${x(s.value)}`;
    case 'store':
      return `$${s.buf}[${x(s.index)}] = ${x(s.value)}`;
    case 'atomic':
      return `atomic ${s.op} $${s.buf}[${x(s.index)}] = ${x(s.value)}`;
    case 'alloc':
      env.slots.set(s.buf, s.dtype);
      return `alloc $${s.buf} ${s.dtype}[${s.size}] ${s.space}`;
    case 'intrin':
      return `intrin ${printName(s.name)}(${s.args.map(x).join(', ')}) ${block(s.body)}`;
    case 'break':
    case 'barrier':
      return s.s;
    default:
      return never(s, 'statement');
  }
}
