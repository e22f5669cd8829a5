// A module as text, exactly: parse.ts reads it back to the same module, values numbered in order of appearance.
// Elementwise operations and contractions take their short forms (print-short.ts), everything else the full one;
// `@ op "node" 3` after a node is its origin, after ` + ` what else went into it. Data of large constants are not in the text: see constantsOf.

import { never } from '../support/errors.js';
import { type Dim, dimSyms, type Sym } from './dim.js';
import { kernelDims } from './kernel-walk.js';
import { hashOf, isByHash, printConst } from './print-const.js';
import { printDim, printDims, printExpr, printName, printNumber, type TypeEnv, type VarType } from './print-expr.js';
import { printKernel } from './print-kernel.js';
import { operandType, shortForm } from './print-short.js';
import type { Origin } from './program.js';
import { visitNodes } from './rewrite.js';
import { type Expr, visitExpr } from './scalar.js';
import type { ConstData, Entry, Module, Node, NodeOf, Region, TensorType, Value } from './tensor.js';
import type { Tensor } from '../support/tensor.js';

interface Printer {
  /** %k of a value, numbered when first seen. */
  readonly ref: (v: Value) => string;
  /** The first node that holds these contents, where one stands earlier. */
  readonly same: (n: NodeOf<'const'>) => Value | undefined;
}

export function printModule(m: Module): string {
  const numbers = new Map<Value, number>();
  const holders = new Map<ConstData, Value>();
  const p: Printer = {
    same(n) {
      const first = holders.get(n.data);
      if (!first) holders.set(n.data, n.outputs[0] as Value);
      return first;
    },
    ref(v) {
      if (!numbers.has(v)) numbers.set(v, numbers.size);
      return `%${numbers.get(v)}`;
    },
  };
  const lines = [
    ...moduleSyms(m).map(
      (s) => `  sym ${printName(s.name)} : ${printNumber(s.lo)} .. ${printNumber(s.hi)}${s.checked ? ' checked' : ''}`,
    ),
    ...m.states.map((s) => `  state ${JSON.stringify(s.name)} : ${printTensorType(s.type)} = ${printInit(s.init)}`),
    ...m.entries.map((e) => `  ${printEntry(e, p)}`),
  ];
  return `module ${JSON.stringify(m.name)} {\n${lines.join('\n')}\n}\n`;
}

const printInit = (t: Tensor): string => printConst({ dtype: t.dtype, shape: t.shape, read: () => t });

/** The side table: what the text names by hash. */
export function constantsOf(m: Module): Map<string, Tensor> {
  const table = new Map<string, Tensor>();
  const add = (t: Tensor, text: string): void => {
    if (isByHash(t.dtype, text)) table.set(hashOf(t), t);
  };
  for (const s of m.states) add(s.init, printInit(s.init));
  for (const e of m.entries)
    visitNodes(e.body, (n) => {
      if (n.kind === 'const' && isByHash(n.data.dtype, printConst(n.data))) add(n.data.read(), printConst(n.data));
    });
  return table;
}

/** Every symbol of a module, in order of appearance. */
function moduleSyms(m: Module): Sym[] {
  const found = new Map<string, Sym>();
  const dims = (list: readonly Dim[]): void => {
    for (const d of list) dimSyms(d, found);
  };
  const values = (list: readonly Value[]): void => {
    for (const v of list) dims(v.type.shape);
  };
  for (const s of m.states) dims(s.type.shape);
  for (const e of m.entries) {
    values(e.body.params);
    visitNodes(e.body, (n, region) => {
      values(region.params);
      values([...n.inputs, ...n.outputs]);
      for (const b of n.binds) found.set(b.sym.name, b.sym);
      dims(payloadDims(n));
      if (n.kind === 'scan') found.set(n.step.name, n.step);
      if (n.kind === 'kernel') for (const s of n.kernel.syms) found.set(s.name, s);
    });
  }
  return [...found.values()];
}

/** Sizes a node itself mentions, those of its types aside. */
function payloadDims(n: Node): readonly Dim[] {
  const inside = (list: readonly Expr[]): Dim[] => {
    const out: Dim[] = [];
    for (const x of list) visitExpr(x, (y) => y.k === 'dim' && out.push(y.dim));
    return out;
  };
  switch (n.kind) {
    case 'generic':
      return [...n.reduce, ...inside([n.body, ...(n.post ? [n.post] : [])])];
    case 'view':
      return n.map === 'reshape' ? [] : inside(n.map);
    case 'scatter':
      return [...n.space, ...inside([...n.index, n.body])];
    case 'scan':
      return [n.count];
    case 'dim':
      return n.dims;
    case 'kernel':
      return [...n.kernel.params.map((q) => q.size), ...kernelDims(n.kernel.body)];
    default:
      return [];
  }
}

const printTensorType = (t: TensorType): string => `${t.dtype}${printDims(t.shape)}`;
const label = (v: Value): string => (v.name === undefined ? '' : ` ${JSON.stringify(v.name)}`);

function printEntry(e: Entry, p: Printer): string {
  const params = e.body.params.map((v, k) => `${JSON.stringify(e.inputNames[k] ?? '')}: ${printParam(v, p)}`);
  const body = printNodes(e.body, p, '    ');
  const results = e.body.results.map((v, k) => `${JSON.stringify(e.outputNames[k] ?? '')}: ${p.ref(v)}`);
  return `entry ${JSON.stringify(e.name)} (${params.join(', ')}) {\n${body}    return ${results.join(', ')}\n  }`;
}

const printParam = (v: Value, p: Printer): string => `${p.ref(v)}${label(v)} ${printTensorType(v.type)}`;

const printNodes = (r: Region, p: Printer, indent: string): string =>
  r.nodes.map((n) => `${indent}${printNode(n, p, indent)}\n`).join('');

function printRegion(r: Region, p: Printer, indent: string): string {
  const params = r.params.length > 0 ? `(${r.params.map((v) => printParam(v, p)).join(', ')}) ` : '';
  const nodes = printNodes(r, p, `${indent}  `);
  return `${params}{\n${nodes}${indent}  yield ${r.results.map((v) => p.ref(v)).join(', ')}\n${indent}}`;
}

function printNode(n: Node, p: Printer, indent: string): string {
  const inputs = n.inputs.map((v) => p.ref(v)); // first: operands are numbered before results
  const outputs = n.outputs.map((v) => `${p.ref(v)}${label(v)}`);
  const head = outputs.length > 0 ? `${outputs.join(', ')} = ` : '';
  const binds = n.binds.map((b) => ` bind ${printName(b.sym.name)} = ${p.ref(n.outputs[b.output] as Value)}`);
  return `${head}${printPayload(n, p, inputs.join(', '), indent)}${binds.join('')}${printOrigin(n.origin)}`;
}

function printOrigin(o: Origin): string {
  if (o.op === '' && o.node === '' && o.index === -1 && o.path.length === 0) return '';
  return ` @ ${[o, ...(o.also ?? [])].map(printOne).join(' + ')}`;
}

function printOne(o: Origin): string {
  const path = o.path.length > 0 ? ` in ${o.path.map((x) => JSON.stringify(x)).join(' ')}` : '';
  return `${printName(o.op)} ${JSON.stringify(o.node)} ${o.index}${path}`;
}

function printPayload(n: Node, p: Printer, inputs: string, indent: string): string {
  const operands = inputs && ` ${inputs}`;
  const types = n.outputs.length > 0 ? ` : ${n.outputs.map((v) => printTensorType(v.type)).join(', ')}` : '';
  const region = (r: Region): string => printRegion(r, p, indent);
  switch (n.kind) {
    case 'const': {
      const first = p.same(n);
      return first ? `const same ${p.ref(first)}` : `const ${printConst(n.data)}`;
    }
    case 'generic':
      return printGeneric(n, p, `${operands}${types}`, indent);
    case 'view':
      return n.map === 'reshape'
        ? `reshape${operands}${types}`
        : `view${operands}${types} at [${n.map.map((x) => printExpr(x, bodyTypes(n.inputs), indent)).join(', ')}]`;
    case 'concat':
      return `concat${operands}${types} axis ${n.axis}`;
    case 'scatter': {
      const [env, x] = [bodyTypes(n.inputs), (e: Expr): string => printExpr(e, env, indent)];
      return `scatter ${n.mode}${operands}${types} over ${printDims(n.space)} at [${n.index.map(x).join(', ')}] = ${x(n.body)}`;
    }
    case 'scan':
      return `scan${operands}${types} carried ${n.carried} for ${printName(n.step.name)} < ${printDim(n.count)} ${region(n.body)}`;
    case 'while':
      return `while${operands}${types} test ${region(n.test)} body ${region(n.body)}`;
    case 'if':
      return `if${operands}${types} then ${region(n.then)} else ${region(n.else)}`;
    case 'call':
      return `call ${n.host ? 'host ' : ''}${JSON.stringify(n.callee)}${operands}${types}`;
    case 'kernel':
      return `run${operands}${types} = ${printKernel(n.kernel, indent)}`;
    case 'state_read':
    case 'state_write':
      return `${n.kind} ${JSON.stringify(n.state)}${operands}${types}`;
    case 'dim':
      return `dim ${printDims(n.dims)}${types}`;
    default:
      return never(n, 'node');
  }
}

function printGeneric(n: NodeOf<'generic'>, p: Printer, operands: string, indent: string): string {
  const type = n.outputs[0]?.type as TensorType;
  const short = shortForm(n);
  if (short?.form === 'einsum')
    return `einsum ${JSON.stringify(short.spec)} ${short.args.map((v) => p.ref(v)).join(', ')} : ${printTensorType(type)}`;
  if (short) {
    const args = short.args.map((a, k) =>
      'k' in a ? printExpr(a, bodyTypes([]), '', operandType(short.args, k)) : p.ref(a),
    );
    return `${short.name} ${args.join(', ')} : ${printTensorType(type)}`;
  }
  const reduce =
    n.reducer !== null || n.reduce.length > 0 ? ` reduce ${n.reducer ?? 'none'} ${printDims(n.reduce)}` : '';
  const post = n.post ? ` then ${printExpr(n.post, bodyTypes(n.inputs, n.body), indent)}` : '';
  return `generic${operands}${reduce} = ${printExpr(n.body, bodyTypes(n.inputs), indent)}${post}`;
}

/** What a body may read: operands by slot, axes, and in an epilogue the reduced value. */
export function bodyTypes(inputs: readonly Value[], reduced?: Expr): TypeEnv {
  const acc: VarType | undefined = reduced && { dtype: reduced.dtype, lanes: reduced.lanes };
  return {
    slot: (k) => inputs[k]?.type.dtype,
    variable: (name) => (name === 'acc' ? acc : /^[ir]\d+$/.test(name) ? { dtype: 'i32', lanes: 1 } : undefined),
  };
}
