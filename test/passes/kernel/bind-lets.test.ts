// Sharing and hoisting: what gets a name and where, what must not move, and random kernels that must compute the same.

import { describe, expect, it } from 'vitest';
import { compileKernel } from '../../../src/backends/interp/compile-kernel.js';
import type { Kernel, Stmt } from '../../../src/ir/kernel.js';
import {
  cast,
  children,
  type Expr,
  i32,
  load,
  rawOp,
  type ScalarOp,
  select,
  variable,
  vec,
} from '../../../src/ir/scalar.js';
import { bindLets } from '../../../src/passes/kernel/bind-lets.js';
import { legalizeKernel } from '../../../src/passes/kernel/legalize.js';
import { bodiesOf } from '../../../src/passes/kernel/stmt-walk.js';
import { randomSource } from '../../ir/macro-accuracy.js';

const v = (name: string): Expr => variable(name, 'i32');
const n = (value: number): Expr => i32(value);
const o = (name: ScalarOp, ...args: Expr[]): Expr => rawOp(name, ...args);
const store = (index: Expr, value: Expr, buf = 1): Stmt => ({ s: 'store', buf, index, value });
const loop = (name: string, hi: Expr, body: readonly Stmt[]): Stmt => ({
  s: 'for',
  var: name,
  lo: n(0),
  hi,
  step: 1,
  mode: 'serial',
  body,
});

const kernel = (body: readonly Stmt[]): Kernel => ({
  name: 'k',
  params: [
    { name: 'x', dtype: 'i32', access: 'read', size: 64 },
    { name: 'y', dtype: 'i32', access: 'readwrite', size: 64 },
  ],
  syms: [],
  body,
});

function spell(e: Expr): string {
  if (e.k === 'const') return String(e.value);
  if (e.k === 'var') return e.name;
  const args = children(e).map(spell);
  if (e.k !== 'load') return `${e.k === 'op' ? e.op : e.k}(${args.join()})`;
  return `$${e.src}[${args[0]}]${args[1] === undefined ? '' : `?${args[1]}`}${args[2] === undefined ? '' : `|${args[2]}`}`;
}

/** One line a statement, indented. */
function print(body: readonly Stmt[], indent = ''): string[] {
  return body.flatMap((s) => {
    const inner = bodiesOf(s).flatMap((b) => print(b, `${indent}  `));
    if (s.s === 'for') return [`${indent}for ${s.var} < ${spell(s.hi)}`, ...inner];
    if (s.s === 'let' || s.s === 'set') return [`${indent}${s.s} ${s.var} = ${spell(s.value)}`];
    if (s.s === 'store') return [`${indent}$${s.buf}[${spell(s.index)}] = ${spell(s.value)}`];
    if (s.s === 'if' || s.s === 'while') return [`${indent}${s.s} ${spell(s.cond)}`, ...inner];
    return [`${indent}${s.s}`];
  });
}

const bound = (body: readonly Stmt[]): string[] => print(bindLets(kernel(body)).body);

const splat = (e: Expr): Expr => vec('splat', [e], 'i32', 4);

const square = (e: Expr): Expr => o('mul', e, e);

describe('sharing', () => {
  const x = load(0, [n(0)], 'i32');

  it('names a repeated expression right before its first use', () => {
    expect(bound([store(n(0), n(1)), store(n(1), square(x)), store(n(2), o('neg', square(x)))])).toEqual([
      '$1[0] = 1',
      'let t0 = $0[0]',
      'let t1 = mul(t0,t0)',
      '$1[1] = t1',
      '$1[2] = neg(t1)',
    ]);
  });

  it('names what is splat instead of the vector where asked to', () => {
    const wide = loop('i', n(4), [store(n(0), splat(square(x))), store(n(4), splat(square(x)))]);
    const spell = (keepsSplats: boolean) => print(bindLets(kernel([wide]), { keepsSplats }).body);
    expect(spell(false)).toEqual([
      'let t1 = $0[0]',
      'let t0 = vec(mul(t1,t1))',
      'for i < 4',
      '  $1[0] = t0',
      '  $1[4] = t0',
    ]);
    expect(spell(true)).toEqual([
      'let t1 = $0[0]',
      'let t0 = mul(t1,t1)',
      'for i < 4',
      '  $1[0] = vec(t0)',
      '  $1[4] = vec(t0)',
    ]);
  });

  it('reads again after a store to the same buffer', () => {
    const y = load(1, [n(0)], 'i32');
    expect(bound([store(n(1), y), store(n(2), y)])).toEqual(['$1[1] = $1[0]', '$1[2] = $1[0]']);
    expect(bound([store(n(1), o('add', y, y))])).toEqual(['let t0 = $1[0]', '$1[1] = add(t0,t0)']);
  });

  it('computes again after an assignment', () => {
    const a = v('a');
    const body: Stmt[] = [
      { s: 'let', var: 'a', value: n(3), mutable: true },
      store(n(0), square(a)),
      { s: 'set', var: 'a', value: n(4) },
      store(n(1), square(a)),
    ];
    expect(bound(body)).toEqual(['let a = 3', '$1[0] = mul(a,a)', 'set a = 4', '$1[1] = mul(a,a)']);
  });

  it('does not share between the arms of a branch, but from before into them', () => {
    const e = square(v('i'));
    const branch = (first: readonly Stmt[]): Stmt =>
      loop('i', n(4), [
        ...first,
        { s: 'if', cond: o('lt', v('i'), n(2)), then: [store(n(1), e)], else: [store(n(2), e)] },
      ]);
    expect(bound([branch([])]).join('\n')).not.toContain('let');
    expect(bound([branch([store(n(0), e)])])).toContain('  let t0 = mul(i,i)');
  });

  it('keeps an unguarded load below the guard it needs', () => {
    const inner = load(0, [v('i')], 'i32');
    const guarded = load(1, [inner], 'i32', { guard: o('lt', v('i'), n(3)), pad: n(0) });
    const lines = bound([
      loop('i', n(4), [
        store(n(0), o('add', guarded, load(1, [inner], 'i32', { guard: o('lt', v('i'), n(2)), pad: n(0) }))),
      ]),
    ]);
    expect(lines.join('\n')).not.toContain('let');
  });

  it('shares a guarded load as a whole', () => {
    const guarded = load(0, [v('i')], 'i32', { guard: o('lt', v('i'), n(3)), pad: n(0) });
    expect(bound([loop('i', n(4), [store(v('i'), square(guarded))])])).toEqual([
      'for i < 4',
      '  let t0 = $0[i]?lt(i,3)|0',
      '  $1[i] = mul(t0,t0)',
    ]);
  });

  it('uses the name a let already gives', () => {
    const e = square(v('i'));
    const body: Stmt[] = [{ s: 'let', var: 'q', value: e, mutable: false }, store(v('i'), e)];
    expect(bound([loop('i', n(4), body)])).toEqual(['for i < 4', '  let q = mul(i,i)', '  $1[i] = q']);
  });
});

describe('hoisting', () => {
  const row = o('mul', v('i'), n(8));

  it('moves row offsets out of the inner loop', () => {
    const at = o('add', row, v('j'));
    expect(bound([loop('i', n(8), [loop('j', n(8), [store(at, load(0, [at], 'i32'))])])])).toEqual([
      'for i < 8',
      '  let t0 = mul(i,8)',
      '  for j < 8',
      '    let t1 = add(t0,j)',
      '    $1[t1] = $0[t1]',
    ]);
  });

  it('moves loads out of loops that surely run, out of others only what surely exists', () => {
    const body = (hi: Expr, at: Expr): string[] => bound([loop('i', hi, [store(v('i'), load(0, [at], 'i32'))])]);
    expect(body(n(8), v('q'))).toEqual(['let t0 = $0[q]', 'for i < 8', '  $1[i] = t0']);
    expect(body(v('m'), v('q')).join('\n')).not.toContain('let');
    expect(body(v('m'), n(64)).join('\n')).not.toContain('let'); // of 64 elements
    expect(body(v('m'), n(63))).toEqual(['let t0 = $0[63]', 'for i < m', '  $1[i] = t0']);
    const guarded = load(0, [n(5)], 'i32', { guard: o('lt', v('m'), n(3)), pad: n(0) });
    expect(bound([loop('i', v('m'), [store(v('i'), guarded)])])[0]).toBe('let t0 = $0[5]?lt(m,3)|0');
  });

  it('keeps loads of what the loop writes', () => {
    expect(bound([loop('i', n(8), [store(v('i'), load(1, [n(5)], 'i32'))])]).join('\n')).not.toContain('let');
  });

  it('moves a let whose value does not change', () => {
    const body: Stmt[] = [{ s: 'let', var: 'r', value: row, mutable: false }, store(o('add', v('r'), v('j')), n(1))];
    expect(bound([loop('i', n(8), [loop('j', n(8), body)])])).toEqual([
      'for i < 8',
      '  let r = mul(i,8)',
      '  for j < 8',
      '    $1[add(r,j)] = 1',
    ]);
  });
});

/** Kernels of loops, branches, assignments, loads with and without guards, and stores. Every index is in range. */
function randomKernel(seed: number): Kernel {
  const random = randomSource(seed);
  const below = (k: number): number => Math.floor(random() * k);
  let names = 0;
  const inRange = (e: Expr): Expr => o('and', e, n(63));
  const expr = (scope: readonly string[], depth: number): Expr => {
    const leaf = (): Expr =>
      scope.length && random() < 0.7 ? v(scope[below(scope.length)] as string) : n(below(9) - 3);
    if (depth === 0) return leaf();
    const a = expr(scope, depth - 1);
    const b = random() < 0.3 ? a : expr(scope, depth - 1);
    const kind = below(8);
    if (kind === 0) return load(below(2), [inRange(a)], 'i32');
    if (kind === 1) return load(below(2), [b], 'i32', { guard: o('eq', inRange(b), b), pad: a });
    if (kind === 2) return select(o('lt', a, b), b, a);
    return o((['add', 'mul', 'sub', 'min', 'xor'] as const)[below(5)] as ScalarOp, a, b);
  };
  const body = (scope: readonly string[], mutable: readonly string[], depth: number): Stmt[] => {
    const out: Stmt[] = [];
    const visible = [...scope];
    const settable = [...mutable];
    for (let count = 1 + below(4); count > 0; count--) {
      const all = [...visible, ...settable];
      const kind = below(depth > 0 ? 7 : 4);
      const fresh = `v${names++}`;
      if (kind === 0) {
        out.push({ s: 'let', var: fresh, value: expr(all, 2), mutable: false });
        visible.push(fresh);
      } else if (kind === 1) {
        out.push({ s: 'let', var: fresh, value: expr(all, 2), mutable: true });
        settable.push(fresh);
      } else if (kind === 2 && settable.length) {
        out.push({ s: 'set', var: settable[below(settable.length)] as string, value: expr(all, 3) });
      } else if (kind === 4) {
        out.push({
          s: 'if',
          cond: o('lt', expr(all, 2), expr(all, 1)),
          then: body(visible, settable, depth - 1),
          else: body(visible, settable, depth - 1),
        });
      } else if (kind >= 5) {
        const hi = random() < 0.5 ? n(below(4)) : o('and', expr(all, 1), n(3));
        const inner = body([...visible, fresh], settable, depth - 1);
        if (random() < 0.2)
          inner.push({ s: 'if', cond: o('lt', expr(all, 1), n(0)), then: [{ s: 'break' }], else: [] });
        out.push(loop(fresh, hi, inner));
      } else out.push(store(inRange(expr(all, 2)), expr(all, 3)));
    }
    return out;
  };
  return kernel([...body([], [], 4), ...body([], [], 4)]);
}

function run(k: Kernel): Int32Array {
  const x = Int32Array.from({ length: 64 }, (_, i) => Math.imul(i, 2654435761) >> 20);
  const y = Int32Array.from({ length: 64 }, (_, i) => 64 - i);
  compileKernel(k)(x, y);
  return y;
}

it('random kernels compute the same', () => {
  for (let seed = 1; seed <= 400; seed++) {
    const k = randomKernel(seed);
    expect(run(bindLets(k)), `seed ${seed}`).toEqual(run(k));
  }
});

/** Nodes as a backend would print them without sharing of its own. */
function printedSize(body: readonly Stmt[]): number {
  const size = (e: Expr): number => 1 + children(e).reduce((s, c) => s + size(c), 0);
  const own = (s: Stmt): number =>
    s.s === 'store' ? size(s.index) + size(s.value) : s.s === 'let' || s.s === 'set' ? size(s.value) : 1;
  return body.reduce((sum, s) => sum + own(s) + bodiesOf(s).reduce((t, b) => t + printedSize(b), 0), 0);
}

it('an expanded macro prints in linear size, in linear time', () => {
  const x = cast(load(0, [v('i')], 'i32'), 'f32');
  let value: Expr = x;
  for (let k = 0; k < 12; k++) value = rawOp('pow', rawOp('tanh', value), rawOp('sigmoid', value));
  const big = legalizeKernel(kernel([loop('i', n(64), [store(v('i'), cast(value, 'i32'))])]));
  const out = bindLets(big);
  expect(printedSize(out.body)).toBeLessThan(20_000);
  expect(run(out)).toEqual(run(big));
});
