// Operators on strings. Text has no place in loop programs, so these run on the host; what they hand on as numbers is
// compiled like anything else. A result whose size only the text knows comes with a count that defines a symbol.

import type { Builder } from '../../ir/builder.js';
import { broadcastShape } from '../../ir/build-math.js';
import { type Dim, product, symDim } from '../../ir/dim.js';
import type { HostCall } from '../../ir/program.js';
import type { TensorType, Value } from '../../ir/tensor.js';
import { CompileError } from '../../support/errors.js';
import { sizeOf, type Tensor } from '../../support/tensor.js';
import { type AnyRecord, op } from './record.js';
import { most } from './runtime-sizes.js';

export const stringsOf = (t: Tensor): readonly string[] => t.data as readonly string[];
export const text = (shape: readonly number[], data: readonly string[]): Tensor => ({ dtype: 'string', shape, data });

/** A host call on `inputs`; its last output is the size `types` may mention through `count`. */
export function countedHost(
  b: Builder,
  name: string,
  inputs: readonly Value[],
  bound: number,
  types: (count: Dim) => readonly TensorType[],
  call: HostCall,
): readonly Value[] {
  const sym = b.freshSym('count', 0, bound);
  const outputs = [...types(symDim(sym)), { dtype: 'i64', shape: [] } as const];
  const binds = sym.hi > 0 ? [{ output: outputs.length - 1, sym }] : [];
  return b.node({ kind: 'call', callee: name, host: call }, inputs, outputs, binds).slice(0, -1);
}

const countTensor = (n: number): Tensor => ({ dtype: 'i64', shape: [], data: BigInt64Array.of(BigInt(n)) });

/** Element of a broadcast operand for position `flat` of `shape`. */
function broadcastAt(t: Tensor, shape: readonly number[], flat: number): string {
  let [rest, at, stride] = [flat, 0, 1];
  for (let k = shape.length - 1; k >= 0; k--) {
    const size = t.shape[k - (shape.length - t.shape.length)] ?? 1;
    const i = rest % (shape[k] as number);
    rest = Math.floor(rest / (shape[k] as number));
    if (size > 1) at += i * stride;
    stride *= size;
  }
  return stringsOf(t)[at] as string;
}

/** f of each pair, with numpy broadcasting. */
function zipStrings<R>([x, y]: readonly Tensor[], f: (p: string, q: string) => R): { shape: number[]; data: R[] } {
  const [a, c] = [x as Tensor, y as Tensor];
  const shape = broadcastShape([a.shape, c.shape]) as number[];
  const data = Array.from({ length: sizeOf(shape) }, (_, i) => f(broadcastAt(a, shape, i), broadcastAt(c, shape, i)));
  return { shape, data };
}

const concatStrings: HostCall = (inputs) => {
  const { shape, data } = zipStrings(inputs, (p, q) => p + q);
  return [text(shape, data)];
};

/** Whether strings are equal, pair by pair. */
export function equalStrings(b: Builder, x: Value, y: Value): Value {
  const call: HostCall = (inputs) => {
    const { shape, data } = zipStrings(inputs, (p, q) => Number(p === q));
    return [{ dtype: 'i1', shape, data: Uint8Array.from(data) }];
  };
  const type: TensorType = { dtype: 'i1', shape: broadcastShape([x.type.shape, y.type.shape]) };
  return b.host('string_equal', call, [x, y], [type])[0] as Value;
}

/** Python's str.split: runs of white space where no delimiter is given. */
function splitString(s: string, delimiter: string, limit: number): readonly string[] {
  const parts: string[] = [];
  let rest = delimiter ? s : s.replace(/^\s+/, '');
  while (limit < 0 || parts.length < limit) {
    const found = delimiter ? rest.indexOf(delimiter) : rest.search(/\s/);
    if (found < 0) break;
    parts.push(rest.slice(0, found));
    rest = delimiter ? rest.slice(found + delimiter.length) : rest.slice(found).replace(/^\s+/, '');
  }
  return delimiter || rest ? [...parts, rest] : parts;
}

/** Most parts a string is expected to have; memory for strings is the host's, so this costs nothing. */
const MOST_PARTS = 2 ** 20;

const splitStrings =
  (delimiter: string, limit: number): HostCall =>
  ([x]) => {
    const all = stringsOf(x as Tensor).map((s) => splitString(s, delimiter, limit));
    const width = Math.max(0, ...all.map((p) => p.length));
    const shape = (x as Tensor).shape;
    const data = all.flatMap((p) => [...p, ...Array.from({ length: width - p.length }, () => '')]);
    const lengths = BigInt64Array.from(all, (p) => BigInt(p.length));
    return [text([...shape, width], data), { dtype: 'i64', shape, data: lengths }, countTensor(width)];
  };

interface NormalizerAttrs {
  readonly change: (s: string) => string;
  readonly sensitive: boolean;
  readonly stopwords: readonly string[];
}

const normalizeStrings =
  ({ change, sensitive, stopwords }: NormalizerAttrs): HostCall =>
  ([x]) => {
    const plain = (s: string): string => (sensitive ? s : s.toLowerCase());
    const stop = new Set(stopwords.map(plain));
    const kept = stringsOf(x as Tensor)
      .filter((s) => !stop.has(plain(s)))
      .map(change);
    const data = kept.length > 0 ? kept : [''];
    return [text([...(x as Tensor).shape.slice(0, -1), data.length], data), countTensor(data.length)];
  };

/** RE2 patterns: flags in front, else what JavaScript shares. */
function fullMatch(pattern: string): RegExp {
  const flags = /^\(\?([ims]+)\)/.exec(pattern);
  try {
    return new RegExp(`^(?:${pattern.slice(flags?.[0].length ?? 0)})$`, flags?.[1] ?? '');
  } catch {
    throw new CompileError('E203', `the pattern "${pattern}" is not a regular expression`);
  }
}

const CASES: Readonly<Record<string, (s: string) => string>> = {
  NONE: (s) => s,
  LOWER: (s) => s.toLowerCase(),
  UPPER: (s) => s.toUpperCase(),
};

export const records: readonly AnyRecord[] = [
  op('string_concat', {
    doc: 'Strings joined element by element.',
    inputs: ['x', 'y'],
    onnx: { 'StringConcat@20': () => ({}) },
    reference: {
      types: ({ x, y }) => [{ dtype: 'string', shape: broadcastShape([x.type.shape, y.type.shape]) }],
      run: () => concatStrings,
    },
  }),
  op('regex_full_match', {
    doc: 'Whether the whole of each string matches a pattern.',
    inputs: ['x'],
    onnx: { 'RegexFullMatch@20': (n) => ({ pattern: fullMatch(n.string('pattern')) }) },
    reference: {
      types: ({ x }) => [{ dtype: 'i1', shape: x.type.shape }],
      run:
        ({ pattern }) =>
        ([x]) => [
          {
            dtype: 'i1',
            shape: (x as Tensor).shape,
            data: Uint8Array.from(stringsOf(x as Tensor), (s) => Number(pattern.test(s))),
          },
        ],
    },
    limits: ['Patterns are read as JavaScript reads them.'],
  }),
  op('string_split', {
    doc: 'The parts of each string between delimiters, padded with empty strings, and how many there are.',
    inputs: ['x'],
    onnx: { 'StringSplit@20': (n) => ({ delimiter: n.string('delimiter', ''), limit: n.int('maxsplit', -1) }) },
    lower: ({ x }, { delimiter, limit }, b) =>
      countedHost(
        b,
        'string_split',
        [x],
        MOST_PARTS,
        (n) => [
          { dtype: 'string', shape: [...x.type.shape, n] },
          { dtype: 'i64', shape: x.type.shape },
        ],
        splitStrings(delimiter, limit),
      ),
  }),
  op('string_normalizer', {
    doc: 'Strings without stop words, in lower or upper case.',
    inputs: ['x'],
    onnx: {
      'StringNormalizer@10': (n): NormalizerAttrs => ({
        change: CASES[n.string('case_change_action', 'NONE')] ?? ((s) => s),
        sensitive: n.bool('is_case_sensitive', false),
        stopwords: n.strings('stopwords', []),
      }),
    },
    lower: ({ x }, a, b) =>
      countedHost(
        b,
        'string_normalizer',
        [x],
        Math.max(1, most(product(x.type.shape))),
        (n) => [{ dtype: 'string', shape: [...x.type.shape.slice(0, -1), n] }],
        normalizeStrings(a),
      ),
    limits: ['The locale is not looked at.'],
  }),
];
