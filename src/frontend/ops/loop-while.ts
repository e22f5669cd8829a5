// Loops that end when their data say so: a while with its own counter. A carried tensor that changes its size lives in a
// buffer of its largest size with the size beside it; what is stacked per step goes into a buffer of the largest trip
// count, narrowed to the real one afterwards.

import type { Builder } from '../../ir/builder.js';
import { type Dim, sub } from '../../ir/dim.js';
import { cast } from '../../ir/scalar.js';
import type { Region, Value } from '../../ir/tensor.js';
import { asSize, checkFixed, type Loop, ownSyms, tripSymbol } from './loop-body.js';
import type { Growth } from './loop-growth.js';

/** How one carried value is held: whole, or in a buffer of its largest size with its changing sizes behind it. */
interface Holder {
  readonly pack: (v: Value) => readonly Value[];
  readonly unpack: (held: readonly Value[]) => Value;
  readonly count: number;
}

function holder(b: Builder, growth: Growth): Holder {
  return {
    count: 1 + growth.length,
    pack(v) {
      if (growth.length === 0) return [v];
      const sizes = growth.map(({ axis }) => v.type.shape[axis] as Dim);
      const room = v.type.shape.map((): Dim => 0);
      growth.forEach(({ axis, hi }, k) => {
        room[axis] = sub(hi, sizes[k] as Dim);
      });
      return [b.pad(v, [], room, 0), ...sizes.map((d) => b.dim(d))];
    },
    unpack: ([buffer, ...sizes]) =>
      growth.reduce<Value>(
        (v, { axis, hi }, k) => b.narrow(v, axis, 0, b.bindSym(sizes[k] as Value, 'size', 0, hi)),
        buffer as Value,
      ),
  };
}

function split<T>(list: readonly T[], counts: readonly number[]): readonly (readonly T[])[] {
  let at = 0;
  return counts.map((n) => {
    at += n;
    return list.slice(at - n, at);
  });
}

export function whileLoop(l: Loop, seen: Region, growth: readonly Growth[]): readonly Value[] {
  const { b, ctx, init } = l;
  const holders = growth.map((g) => holder(b, g));
  const counts = holders.map((h) => h.count);
  const items = seen.results.slice(1 + init.length).map((v) => v.type);
  const taken = items.length > 0 ? tripSymbol(l, items) : undefined;
  const cap = taken?.hi ?? 0;
  const own = ownSyms(seen);
  seen.results.slice(1 + init.length).forEach((v, k) => {
    checkFixed(ctx, v, own, k + init.length);
  });
  const held = init.flatMap((v, k) => (holders[k] as Holder).pack(v));
  const stacks = items.map((t) => b.full([cap, ...t.shape], 0, t.dtype));
  const start = [b.scalar(0, 'i64'), l.cond, ...held, ...stacks];
  const types = start.map((v) => v.type);
  const test = b.region(types, ([step, cond]) => [
    l.trips ? b.binary('and', cond as Value, b.lt(step as Value, l.trips)) : (cond as Value),
  ]);
  const body = b.region(types, ([step, cond, ...rest]) => {
    const carried = split(rest.slice(0, held.length), counts).map((h, k) => (holders[k] as Holder).unpack(h));
    const out = l.step(asSize(l, step as Value), cond as Value, carried);
    const next = out.slice(1, 1 + init.length).flatMap((v, k) => (holders[k] as Holder).pack(v));
    const rows = out.slice(1 + init.length).map((v, k) => putRow(b, rest[held.length + k] as Value, step as Value, v));
    return [b.add(step as Value, 1), out[0] as Value, ...next, ...rows];
  });
  const [steps, , ...after] = b.while(start, test, body);
  const carried = split(after.slice(0, held.length), counts).map((h, k) => (holders[k] as Holder).unpack(h));
  if (!taken) return carried;
  const n = b.bindTo(taken, steps as Value);
  return [...carried, ...after.slice(held.length).map((v) => b.narrow(v, 0, 0, n))];
}

/** `stack` with row `at` replaced. */
const putRow = (b: Builder, stack: Value, at: Value, row: Value): Value =>
  b.scatter(stack, row.type.shape, 'set', (i, read) => ({
    index: [cast(read(at, []), 'i32'), ...i],
    value: read(row, i),
  }));
