// Scalar expressions and sizes as text. Sub-expressions that occur twice are given a name (#0, #1 …) in front, by
// structure, so that equal expressions print equally and shared ones stay as small as they are in memory.
// Literals carry a type only where their neighbours do not say it. parse-expr.ts reads all of this back.

import type { DType } from '../support/dtype.js';
import { never } from '../support/errors.js';
import type { Dim } from './dim.js';
import { type ConstExpr, children, type Expr } from './scalar.js';

/** What the reader of the text will know: element types of load slots, types of variables. */
export interface TypeEnv {
  readonly slot: (src: number) => DType | undefined;
  readonly variable: (name: string) => VarType | undefined;
}

export interface VarType {
  readonly dtype: DType;
  readonly lanes: number;
}

const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Words that start something else in an expression. */
export const RESERVED: ReadonlySet<string> = new Set([
  'nan',
  'inf',
  'true',
  'false',
  'dim',
  'select',
  'bitcast',
  'if',
  'else',
  'then',
]);

export const printName = (name: string): string =>
  IDENTIFIER.test(name) && !RESERVED.has(name) ? name : JSON.stringify(name);

export const printType = (dtype: DType, lanes = 1): string => (lanes === 1 ? dtype : `${dtype}x${lanes}`);

export function printDim(d: Dim): string {
  if (typeof d === 'number') return printNumber(d);
  const terms = d.terms.map((t) => {
    const factors = t.factors.map((f) =>
      f.kind === 'sym' ? printName(f.sym.name) : `${f.kind}(${printDim(f.a)}, ${printDim(f.b)})`,
    );
    return (t.coef === 1 ? factors : [String(t.coef), ...factors]).join(' * ');
  });
  return [...terms, ...(d.constant === 0 ? [] : [String(d.constant)])].join(' + ');
}

export const printDims = (dims: readonly Dim[]): string => `[${dims.map(printDim).join(', ')}]`;

export function printNumber(v: number | bigint): string {
  if (typeof v === 'bigint') return String(v);
  if (Number.isNaN(v)) return 'nan';
  if (!Number.isFinite(v)) return v > 0 ? 'inf' : '-inf';
  return Object.is(v, -0) ? '-0' : String(v);
}

/** The shortest decimal that rounds to the same f32. */
export function printFloat32(v: number): string {
  const single = Math.fround(v);
  if (!Number.isFinite(single) || Number.isInteger(single)) return printNumber(single);
  for (let digits = 1; digits < 9; digits++) {
    const text = single.toPrecision(digits);
    if (Math.fround(Number(text)) === single) return String(Number(text));
  }
  return String(Number(single.toPrecision(9)));
}

/** A constant where `context` is what a bare literal would be. */
function printLiteral(e: ConstExpr, context: DType): string {
  if (e.dtype === 'i1') return e.value ? 'true' : 'false';
  const text = e.dtype === 'f32' ? printFloat32(Number(e.value)) : printNumber(e.value);
  return e.dtype === context ? text : `${text}:${e.dtype}`;
}

/** The type a bare literal takes among its siblings. */
export const siblingType = (args: readonly Expr[]): DType => args.find((a) => a.k !== 'const')?.dtype ?? 'i32';

/** Smaller shared expressions are repeated rather than named. */
const NAMED_SIZE = 6;
/** Deeper ones are named, so that reading the text needs no deep stack. */
const NAMED_HEIGHT = 60;

interface Shared {
  /** The one representative of each structure. */
  readonly canonical: (e: Expr) => Expr;
  /** In order of definition. */
  readonly named: ReadonlyMap<Expr, string>;
}

/** Structures by content, and which of them get names. */
function findShared(root: Expr): Shared {
  const byText = new Map<string, Expr>();
  const ids = new Map<Expr, number>();
  const seen = new Map<Expr, Expr>();
  const uses = new Map<Expr, number>();
  const canonical = (e: Expr): Expr => seen.get(e) ?? e;
  const visit = (e: Expr): Expr => {
    const known = seen.get(e);
    if (known) return known;
    const parts = children(e).map(visit);
    const text = `${structure(e)}(${parts.map((p) => ids.get(p)).join()})`;
    const old = byText.get(text);
    seen.set(e, old ?? e);
    if (old) return old;
    byText.set(text, e);
    ids.set(e, ids.size);
    for (const p of parts) uses.set(p, (uses.get(p) ?? 0) + 1);
    return e;
  };
  const top = visit(root);
  const named = new Map<Expr, string>();
  const shape = new Map<Expr, { size: number; height: number }>();
  for (const e of byText.values()) {
    const parts = children(e).map((c) => {
      const p = canonical(c);
      return named.has(p) ? { size: 1, height: 0 } : (shape.get(p) as { size: number; height: number });
    });
    const size = parts.reduce((s, p) => s + p.size, 1);
    const height = Math.max(0, ...parts.map((p) => p.height + 1));
    shape.set(e, { size, height });
    const worth = ((uses.get(e) ?? 0) > 1 && size >= NAMED_SIZE) || height >= NAMED_HEIGHT;
    if (worth && e !== top) named.set(e, `#${named.size}`);
  }
  return { canonical, named };
}

/** What tells an expression apart from others with the same parts. */
function structure(e: Expr): string {
  const type = printType(e.dtype, e.lanes);
  switch (e.k) {
    case 'const':
      return `${printNumber(e.value)}:${type}`;
    case 'var':
      return `${JSON.stringify(e.name)}:${type}`;
    case 'dim':
      return `dim ${printDim(e.dim)}`;
    case 'load':
      return `$${e.src}${e.guard ? 'g' : ''}${e.pad ? 'p' : ''}${e.index.length}:${type}`;
    case 'op':
      return `${e.op}:${type}`;
    case 'vec':
      return `${e.op}${e.lane}:${type}`;
    case 'select':
    case 'cast':
    case 'bitcast':
      return `${e.k}:${type}`;
    default:
      return never(e, 'expression');
  }
}

const INFIX: Readonly<Record<string, { readonly sign: string; readonly level: number }>> = {
  add: { sign: '+', level: 0 },
  sub: { sign: '-', level: 0 },
  mul: { sign: '*', level: 1 },
};

/** `expr`, or `{ #0 = expr; … expr }` over several lines indented by `indent`. A literal alone is a `context` unless it says otherwise. */
export function printExpr(root: Expr, env: TypeEnv, indent = '', context: DType = 'i32'): string {
  const { canonical, named } = findShared(root);
  const printer = createPrinter(env, canonical, named);
  const last = printer.body(canonical(root), 0, context);
  if (named.size === 0) return last;
  const lines = [...named].map(([e, name]) => `${indent}  ${name} = ${printer.body(e, 0, 'i32')};\n`);
  return `{\n${lines.join('')}${indent}  ${last}\n${indent}}`;
}

function createPrinter(env: TypeEnv, canonical: (e: Expr) => Expr, named: ReadonlyMap<Expr, string>) {
  const part = (child: Expr, level = 0, context: DType = 'i32'): string => {
    const e = canonical(child);
    return named.get(e) ?? body(e, level, context);
  };
  const list = (args: readonly Expr[], context: DType): string => args.map((a) => part(a, 0, context)).join(', ');
  const load = (e: Expr & { k: 'load' }): string => {
    const guard = e.guard ? ` if ${part(e.guard)}` : '';
    const pad = e.pad ? ` else ${part(e.pad, 0, e.dtype)}` : '';
    const suffix = env.slot(e.src) === e.dtype && e.lanes === 1 ? '' : `:${printType(e.dtype, e.lanes)}`;
    return `$${e.src}[${list(e.index, 'i32')}${guard}${pad}]${suffix}`;
  };
  const variable = (e: Expr & { k: 'var' }): string => {
    const known = env.variable(e.name);
    const same = known?.dtype === e.dtype && known.lanes === e.lanes;
    return `${printName(e.name)}${same ? '' : `:${printType(e.dtype, e.lanes)}`}`;
  };
  const operation = (e: Expr & { k: 'op' }, level: number): string => {
    const context = siblingType(e.args);
    const infix = INFIX[e.op];
    const [a, b] = e.args;
    if (!infix || !a || !b || e.args.length !== 2) return `${e.op}(${list(e.args, context)})`;
    const text = `${part(a, infix.level, context)} ${infix.sign} ${part(b, infix.level + 1, context)}`;
    return infix.level < level ? `(${text})` : text;
  };
  const body = (e: Expr, level: number, context: DType): string => {
    switch (e.k) {
      case 'const':
        return printLiteral(e, context);
      case 'var':
        return variable(e);
      case 'dim':
        return `dim(${printDim(e.dim)})`;
      case 'load':
        return load(e);
      case 'op':
        return operation(e, level);
      case 'vec':
        return `${e.op}<${[printType(e.dtype, e.lanes), ...(e.lane ? [e.lane] : [])].join(', ')}>(${list(e.args, 'i32')})`;
      case 'select':
        return `select(${part(e.cond)}, ${list([e.a, e.b], siblingType([e.a, e.b]))})`;
      case 'cast':
        return `${e.dtype}(${part(e.arg)})`;
      case 'bitcast':
        return `bitcast<${e.dtype}>(${part(e.arg)})`;
      default:
        return never(e, 'expression');
    }
  };
  return { body };
}
