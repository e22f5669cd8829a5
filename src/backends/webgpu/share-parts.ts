// Parts whose texts differ in a few constants only become the same text, with those constants as sizes: the layers of a
// network then share their pipelines, and a model loads in the time of a few. What decides the shape of the code, sizes
// of arrays and bounds of loops, stays in it.

import type { Part } from './shader.js';

/** More constants than this are rather another kernel. */
const MOST_CONSTANTS = 6;

/** Brackets around a negative one belong to it, unless they are those of a call. */
const LITERAL =
  /(?<![\w.])(?:(?<!>)\(-(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?[if])\)|-?(?:0x[0-9a-f]+u|\d+(?:\.\d+)?(?:e[+-]?\d+)?[iuf])(?![\w.]))/g;
/** Without the brackets around a negative one. */
const bare = (literal: string): string => literal.replace(/[()]/g, '');
const FIXED = /^\s*for \(|array</;
/** Loops over more than drivers unroll lose nothing by a bound they do not know. */
const MOST_UNROLLED = 16;
const BOUND = /^\s*for \(.*; \w+ < (\d+)i; /;

/** The same parts, by key, with what may be common made so. */
export function shareParts(parts: ReadonlyMap<string, Part>): Map<string, Part> {
  const families = new Map<string, string[]>();
  for (const [key, p] of parts) {
    const shape = JSON.stringify([p.bindings, p.sizeNames, p.grid, p.helpers, p.shared, p.lines.map(withoutLiterals)]);
    families.set(shape, [...(families.get(shape) ?? []), key]);
  }
  const out = new Map(parts);
  for (const keys of families.values()) {
    const members = keys.map((k) => parts.get(k) as Part);
    const open = differing(members);
    if (open.size === 0 || new Set(open.values()).size > MOST_CONSTANTS) continue;
    keys.forEach((k, n) => void out.set(k, opened(members[n] as Part, open)));
  }
  return out;
}

const isFixed = (line: string): boolean => FIXED.test(line) && !(Number(BOUND.exec(line)?.[1]) > MOST_UNROLLED);

/** Literals stand for any of their type. */
const withoutLiterals = (line: string): string =>
  isFixed(line) ? line : line.replace(LITERAL, (x) => `#${bare(x).slice(-1)}`);

const literalsOf = (p: Part): readonly string[] => p.lines.flatMap((l) => (isFixed(l) ? [] : (l.match(LITERAL) ?? [])));

/** By position among a part's literals, where not all members agree: which of the new sizes it is. Equal columns are one. */
function differing(members: readonly Part[]): ReadonlyMap<number, number> {
  const all = members.map(literalsOf);
  const columns = new Map<string, number>();
  const open = new Map<number, number>();
  (all[0] ?? []).forEach((x, k) => {
    if (all.every((list) => list[k] === x)) return;
    const column = all.map((list) => bare(list[k] ?? '')).join();
    const known = columns.get(column) ?? columns.size;
    columns.set(column, known);
    open.set(k, known);
  });
  return open;
}

function opened(p: Part, open: ReadonlyMap<number, number>): Part {
  const values: number[] = [];
  let position = 0;
  const name = (n: number): string => `given_${n}`;
  const lines = p.lines.map((l) =>
    isFixed(l)
      ? l
      : l.replace(LITERAL, (x) => {
          const n = open.get(position++);
          if (n === undefined) return x;
          const literal = bare(x);
          values[n] = bitsOf(literal);
          if (literal.endsWith('i')) return name(n);
          return `bitcast<${literal.endsWith('f') ? 'f32' : 'u32'}>(${name(n)})`;
        }),
  );
  return {
    ...p,
    lines,
    sizes: [...p.sizes, ...values.map((constant) => ({ constant }))],
    sizeNames: [...p.sizeNames, ...values.map((_, n) => name(n))],
  };
}

/** As the i32 of the uniform. */
function bitsOf(literal: string): number {
  const value = Number(literal.slice(0, -1));
  return literal.endsWith('f') ? (new Int32Array(new Float32Array([value]).buffer)[0] as number) : value | 0;
}
