// One node from text: `%2 "name" = kind operands : types … bind n = %2 @ op "node" 3`. Each kind reads its own part in
// the order print.ts writes it. Result types of a generic follow from its text; every other node states them.

import { CompileError } from '../support/errors.js';
import type { DType } from '../support/dtype.js';
import type { Tensor } from '../support/tensor.js';
import type { Dim, Sym } from './dim.js';
import { parseConst } from './parse-const.js';
import type { Syms } from './parse-expr.js';
import { parseKernel, parseWord } from './parse-kernel.js';
import type { Token, Tokens } from './parse-tokens.js';
import type { TypeEnv } from './print-expr.js';
import { bodyTypes } from './print.js';
import {
  fromEinsum,
  fromOp,
  type GenericParts,
  isScalarOp,
  operandType,
  type ShortArg,
  WHOLE_FORMS,
} from './print-short.js';
import type { HostCall, Origin } from './program.js';
import type { Expr } from './scalar.js';
import {
  type Bind,
  type ConstData,
  makeNode,
  type Node,
  type Payload,
  REDUCERS,
  type Region,
  type TensorType,
  type Value,
} from './tensor.js';

export interface NodeParser {
  readonly t: Tokens;
  readonly syms: Syms;
  readonly constants: ReadonlyMap<string, Tensor>;
  readonly hosts: ReadonlyMap<string, HostCall>;
  readonly hasState: (name: string) => boolean;
  /** %k that is already defined. */
  readonly use: () => Value;
  readonly define: (number: string, v: Value, at: Token) => void;
  readonly type: () => TensorType;
  readonly dim: () => Dim;
  readonly sym: () => Sym;
  readonly expr: (env: TypeEnv, context?: DType) => Expr;
  readonly region: () => Region;
}

interface Parts {
  readonly payload: Payload;
  readonly inputs: readonly Value[];
  readonly types: readonly TensorType[];
}

export function parseNode(p: NodeParser): Node {
  const { t } = p;
  const outputs: { number: string; name: string | undefined; at: Token }[] = [];
  if (t.peek().kind === 'value') {
    do {
      const at = t.peek();
      const number = t.one('value', 'a value');
      outputs.push({ number, name: t.peek().kind === 'string' ? t.next().text : undefined, at });
    } while (t.take(','));
    t.expect('=');
  }
  const at = t.peek();
  const { payload, inputs, types } = parseParts(p);
  if (types.length !== outputs.length) t.fail(`${outputs.length} values are defined, the node has ${types.length}`, at);
  const names = outputs.map((o) => o.name);
  const number = new Map(outputs.map((o, k) => [o.number, k]));
  const binds: Bind[] = [];
  while (t.take('bind')) {
    const sym = p.sym();
    t.expect('=');
    const output = number.get(t.one('value', 'a value'));
    if (output === undefined) return t.fail('a node binds a symbol to a value of its own');
    binds.push({ output, sym });
  }
  const node = makeNode(payload, inputs, types, parseOrigin(t), binds, names);
  outputs.forEach((o, k) => {
    p.define(o.number, node.outputs[k] as Value, o.at);
  });
  return node;
}

function parseOrigin(t: Tokens): Origin {
  if (!t.take('@')) return { op: '', node: '', index: -1, path: [] };
  const own = parseOne(t);
  const also: Origin[] = [];
  while (t.take('+')) also.push(parseOne(t));
  return also.length > 0 ? { ...own, also } : own;
}

function parseOne(t: Tokens): Origin {
  const op = t.name('an operator');
  const node = t.one('string', 'a node name');
  const index = t.integer('a position');
  const path: string[] = [];
  if (t.take('in')) while (t.peek().kind === 'string') path.push(t.next().text);
  return { op, node, index, path };
}

/** The contents of a constant that stands earlier: `const same %3`. */
function sameData(p: NodeParser): ConstData {
  const at = p.t.peek();
  const n = p.use().node;
  return n?.kind === 'const' ? n.data : p.t.fail('expected a constant', at);
}

/** What follows a word. */
function after<T>(t: Tokens, word: string, f: () => T): T {
  t.expect(word);
  return f();
}

function operands(p: NodeParser): Value[] {
  const out: Value[] = [];
  if (p.t.peek().kind !== 'value') return out;
  do out.push(p.use());
  while (p.t.take(','));
  return out;
}

function types(p: NodeParser): TensorType[] {
  const out: TensorType[] = [];
  if (!p.t.take(':')) return out;
  do out.push(p.type());
  while (p.t.take(','));
  return out;
}

function parseParts(p: NodeParser): Parts {
  const { t } = p;
  const at = t.peek();
  const word = t.one('word', 'a node');
  const typed = (f: (inputs: readonly Value[], types: readonly TensorType[]) => Payload): Parts => {
    const parts = { inputs: operands(p), types: types(p) };
    return { ...parts, payload: f(parts.inputs, parts.types) };
  };
  switch (word) {
    case 'const': {
      const data = t.take('same') ? sameData(p) : parseConst(t, p.constants);
      return { payload: { kind: 'const', data }, inputs: [], types: [{ dtype: data.dtype, shape: data.shape }] };
    }
    case 'generic':
      return typed((inputs, [type]) => parseGeneric(p, inputs, type, at));
    case 'einsum':
      return parseEinsum(p, at);
    case 'reshape':
      return typed(() => ({ kind: 'view', map: 'reshape' }));
    case 'view':
      return typed((inputs) => ({
        kind: 'view',
        map: after(t, 'at', () => t.list('[', () => p.expr(bodyTypes(inputs)), ']')),
      }));
    case 'concat':
      return typed(() => ({ kind: 'concat', axis: after(t, 'axis', () => t.integer('an axis')) }));
    case 'scatter': {
      const mode = parseWord(t, ['set', 'add', 'mul', 'min', 'max'] as const, 'a mode');
      return typed((inputs) => parseScatter(p, mode, inputs));
    }
    case 'scan':
      return typed(() => parseScan(p));
    case 'while':
      return typed(() => ({
        kind: 'while',
        test: after(t, 'test', () => p.region()),
        body: after(t, 'body', () => p.region()),
      }));
    case 'if':
      return typed(() => ({
        kind: 'if',
        then: after(t, 'then', () => p.region()),
        else: after(t, 'else', () => p.region()),
      }));
    case 'call':
      return parseCall(p);
    case 'run':
      return typed(() => ({ kind: 'kernel', kernel: after(t, '=', () => parseKernel(t, p.syms)) }));
    case 'state_read':
    case 'state_write': {
      const name = t.one('string', 'a state');
      if (!p.hasState(name)) t.fail(`there is no state ${name}`, at);
      return typed(() => ({ kind: word, state: name }));
    }
    case 'dim': {
      const dims = t.list('[', p.dim, ']');
      return typed(() => ({ kind: 'dim', dims }));
    }
    default:
      return parseOneOp(p, word, at);
  }
}

function parseGeneric(p: NodeParser, inputs: readonly Value[], type: TensorType | undefined, at: Token): Payload {
  const { t } = p;
  if (!type) return t.fail('a generic states its type', at);
  let reducer: (typeof REDUCERS)[number] | null = null;
  let reduce: Dim[] = [];
  if (t.take('reduce')) {
    const word = parseWord(t, [...REDUCERS, 'none'] as const, 'a reducer');
    reducer = word === 'none' ? null : word;
    reduce = t.list('[', p.dim, ']');
  }
  t.expect('=');
  const body = p.expr(bodyTypes(inputs));
  const post = t.take('then') ? p.expr(bodyTypes(inputs, body)) : null;
  return { kind: 'generic', shape: type.shape, reduce, reducer, body, post };
}

const asParts = (g: GenericParts, type: TensorType): Parts => ({
  payload: { kind: 'generic', shape: g.shape, reduce: g.reduce, reducer: g.reducer, body: g.body, post: g.post },
  inputs: g.inputs,
  types: [type],
});

function parseEinsum(p: NodeParser, at: Token): Parts {
  const spec = p.t.one('string', 'letters');
  const args = operands(p);
  const [type] = types(p);
  const g = type && fromEinsum({ form: 'einsum', spec, args }, type);
  return g ? asParts(g, type) : p.t.fail(`"${spec}" does not fit the operands`, at);
}

function parseOneOp(p: NodeParser, name: string, at: Token): Parts {
  const { t } = p;
  if (!isScalarOp(name) && !WHOLE_FORMS.has(name)) return t.fail(`there is no node ${name}`, at);
  const args: ShortArg[] = [];
  do {
    if (t.peek().kind === 'value') args.push(p.use());
    else {
      const x = p.expr(bodyTypes([]), operandType(args, args.length));
      if (x.k !== 'const') return t.fail('operands are values or literals', at);
      args.push(x);
    }
  } while (t.take(','));
  const [type] = types(p);
  const g = type && fromOp({ form: 'op', name, args }, type);
  return g ? asParts(g, type) : t.fail(`${name} does not fit its operands and type`, at);
}

function parseScatter(p: NodeParser, mode: 'set' | 'add' | 'mul' | 'min' | 'max', inputs: readonly Value[]): Payload {
  const { t } = p;
  t.expect('over');
  const space = t.list('[', p.dim, ']');
  t.expect('at');
  const index = t.list('[', () => p.expr(bodyTypes(inputs)), ']');
  t.expect('=');
  return { kind: 'scatter', mode, space, index, body: p.expr(bodyTypes(inputs)) };
}

function parseScan(p: NodeParser): Payload {
  const { t } = p;
  t.expect('carried');
  const carried = t.integer('a count');
  t.expect('for');
  const step = p.sym();
  t.expect('<');
  return { kind: 'scan', carried, step, count: p.dim(), body: p.region() };
}

function parseCall(p: NodeParser): Parts {
  const { t } = p;
  const isHost = t.take('host');
  const callee = t.one('string', 'a name');
  const missing: HostCall = () => {
    throw new CompileError('E405', `the host function ${callee} is not at hand`);
  };
  const host = isHost ? (p.hosts.get(callee) ?? missing) : null;
  return { payload: { kind: 'call', callee, host }, inputs: operands(p), types: types(p) };
}
