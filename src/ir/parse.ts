// A module from its text (see print.ts). Whatever is wrong with the text is E405 with line and column; the result is
// verified, so a module that parses is one that passes can work on.

import { CompileError } from '../support/errors.js';
import type { DType } from '../support/dtype.js';
import type { Tensor } from '../support/tensor.js';
import type { Sym } from './dim.js';
import { parseConst } from './parse-const.js';
import { parseDim, parseDims, parseDType, parseExpr, type Syms } from './parse-expr.js';
import { parseSym } from './parse-kernel.js';
import { type NodeParser, parseNode } from './parse-node.js';
import { tokenize, type Tokens } from './parse-tokens.js';
import type { HostCall } from './program.js';
import {
  type Entry,
  makeParam,
  type Module,
  type Node,
  type Region,
  type State,
  type TensorType,
  type Value,
} from './tensor.js';
import { verifyModule } from './verify.js';

export interface ParseOptions {
  /** Data of constants written by hash, as `constantsOf` gives them. */
  readonly constants?: ReadonlyMap<string, Tensor>;
  /** Functions that host calls stand for; without one the call parses but cannot run. */
  readonly hosts?: ReadonlyMap<string, HostCall>;
}

export function parseModule(text: string, options: ParseOptions = {}): Module {
  const t = tokenize(text);
  const syms = new Map<string, Sym>();
  const states: State[] = [];
  const entries: Entry[] = [];
  const p = createNodeParser(t, syms, states, options);
  t.expect('module');
  const name = t.one('string', 'a name');
  t.expect('{');
  while (!t.take('}')) {
    if (t.take('sym')) addSym(t, syms);
    else if (t.take('state')) states.push(parseState(t, p));
    else if (t.take('entry')) entries.push(parseEntry(t, p));
    else t.fail('expected sym, state, entry or }');
  }
  if (t.peek().kind !== 'end') t.fail('expected the end');
  const m: Module = { name, states, entries };
  const problem = verifyModule(m);
  if (problem) throw new CompileError('E405', `the module does not verify: ${problem}`);
  return m;
}

function addSym(t: Tokens, syms: Map<string, Sym>): void {
  const at = t.peek();
  const name = t.name('a size symbol');
  if (syms.has(name)) t.fail(`${name} is declared twice`, at);
  t.expect(':');
  const lo = t.integer('a bound');
  t.expect('..');
  const hi = t.take('inf') ? Number.POSITIVE_INFINITY : t.integer('a bound');
  if (lo > hi) t.fail(`the lower bound of ${name} is above the upper`, at);
  syms.set(name, { name, lo, hi, ...(t.take('checked') ? { checked: true as const } : {}) });
}

function parseState(t: Tokens, p: NodeParser): State {
  const name = t.one('string', 'a name');
  t.expect(':');
  const type = parseTensorType(t, p.syms);
  t.expect('=');
  return { name, type, init: parseConst(t, p.constants).read() };
}

const parseTensorType = (t: Tokens, syms: Syms): TensorType => {
  const dtype: DType = parseDType(t);
  return { dtype, shape: parseDims(t, syms) };
};

/** Values by number, and the ways down into nested regions. */
function createNodeParser(t: Tokens, syms: Syms, states: readonly State[], options: ParseOptions): NodeParser {
  const values = new Map<string, Value>();
  const p: NodeParser = {
    t,
    syms,
    constants: options.constants ?? new Map(),
    hosts: options.hosts ?? new Map(),
    hasState: (name) => states.some((s) => s.name === name),
    use() {
      const at = t.peek();
      const number = t.one('value', 'a value');
      return values.get(number) ?? t.fail(`%${number} is not defined`, at);
    },
    define(number, v, at) {
      if (values.has(number)) t.fail(`%${number} is defined twice`, at);
      values.set(number, v);
    },
    type: () => parseTensorType(t, syms),
    dim: () => parseDim(t, syms),
    sym: () => parseSym(t, syms),
    expr: (env, context) => parseExpr({ tokens: t, env, syms }, context),
    region: () => t.nested(() => parseRegion(t, p)),
  };
  return p;
}

function parseParam(t: Tokens, p: NodeParser, output: number): Value {
  const at = t.peek();
  const number = t.one('value', 'a value');
  const name = t.peek().kind === 'string' ? t.next().text : undefined;
  const v = makeParam(p.type(), output, name);
  p.define(number, v, at);
  return v;
}

function parseRegion(t: Tokens, p: NodeParser): Region {
  let count = 0;
  const params = t.is('(') ? t.list('(', () => parseParam(t, p, count++), ')') : [];
  t.expect('{');
  const nodes = parseNodes(t, p, 'yield');
  const results: Value[] = [];
  if (!t.is('}'))
    do results.push(p.use());
    while (t.take(','));
  t.expect('}');
  return { params, nodes, results };
}

function parseNodes(t: Tokens, p: NodeParser, end: string): Node[] {
  const nodes: Node[] = [];
  while (!t.take(end)) nodes.push(parseNode(p));
  return nodes;
}

function parseEntry(t: Tokens, p: NodeParser): Entry {
  const name = t.one('string', 'a name');
  const inputNames: string[] = [];
  const params = t.list(
    '(',
    () => {
      inputNames.push(t.one('string', 'the name of an input'));
      t.expect(':');
      return parseParam(t, p, inputNames.length - 1);
    },
    ')',
  );
  t.expect('{');
  const nodes = parseNodes(t, p, 'return');
  const outputNames: string[] = [];
  const results: Value[] = [];
  while (!t.is('}')) {
    outputNames.push(t.one('string', 'the name of an output'));
    t.expect(':');
    results.push(p.use());
    if (!t.take(',')) break;
  }
  t.expect('}');
  return { name, inputNames, outputNames, body: { params, nodes, results } };
}
