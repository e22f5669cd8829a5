// Every example in a record holds: its inputs and decoded attributes go through `lower`, and the interpreter agrees.

import { describe, expect, it } from 'vitest';
import { createInterpreter } from '../../src/backends/interp/interpreter.js';
import { lowerToProgram } from '../../src/compile.js';
import { RECORDS } from '../../src/frontend/ops/index.js';
import type { AnyRecord, Example, LowerContext } from '../../src/frontend/ops/record.js';
import { createBuilder } from '../../src/ir/builder.js';
import type { Value } from '../../src/ir/tensor.js';
import type { DType } from '../../src/support/dtype.js';
import { CompileError } from '../../src/support/errors.js';
import { fromNumbers, type Tensor, toNumbers } from '../../src/support/tensor.js';

type Nested = number | boolean | readonly Nested[];

const shapeOf = (x: Nested): number[] =>
  Array.isArray(x) ? [x.length, ...shapeOf((x[0] as Nested | undefined) ?? 0)] : [];
const flat = (x: Nested): number[] => (Array.isArray(x) ? x.flatMap(flat) : [Number(x)]);
const leading = (x: Nested): number[] => (Array.isArray(x) && x.length === 0 ? [0] : shapeOf(x));

function tensorOf(x: unknown): Tensor {
  const typed = x as { readonly dtype?: DType; readonly data?: Nested };
  const data = (typed.dtype ? typed.data : x) as Nested;
  return fromNumbers(typed.dtype ?? 'f32', leading(data), flat(data));
}

/** An input that takes the rest of the operands: its example is a list of tensors. */
const isList = (record: AnyRecord, name: string): boolean => record.inputs.includes(`${name}*`);

function runExample(record: AnyRecord, example: Example): Tensor {
  const b = createBuilder();
  const inputs = Object.entries(example.in).flatMap(([name, x]) =>
    isList(record, name)
      ? (x as readonly unknown[]).map((y, k) => ({ name, key: `${name}${k}`, tensor: tensorOf(y) }))
      : [{ name, key: name, tensor: tensorOf(x) }],
  );
  const context = {
    builder: b,
    rounding: 'double',
    quantIn: () => undefined,
    quantOut: () => undefined,
    declared: () => undefined,
    stateOf: () => undefined,
    limit: (message: string) => {
      throw new CompileError('E202', message);
    },
  } as unknown as LowerContext;
  const body = b.region(
    inputs.map(({ tensor }) => ({ dtype: tensor.dtype, shape: tensor.shape })),
    (params) => {
      const named: Record<string, Value | readonly Value[]> = {};
      for (const [k, { name }] of inputs.entries()) {
        const value = params[k] as Value;
        named[name] = isList(record, name) ? [...((named[name] as readonly Value[] | undefined) ?? []), value] : value;
      }
      const out = record.lower?.(named as never, example.attrs ?? {}, b, context);
      return [(Array.isArray(out) ? out[0] : out) as Value];
    },
  );
  const entry = { name: 'run', inputNames: inputs.map((x) => x.key), outputNames: ['out'], body };
  const program = lowerToProgram({ name: 'example', entries: [entry], states: b.states });
  const out = createInterpreter(program).runSync(Object.fromEntries(inputs.map((x) => [x.key, x.tensor])));
  return out.out as Tensor;
}

const EXAMPLES = RECORDS.flatMap((record) =>
  record.lower
    ? (record.examples ?? []).map((example, k) => [`${record.name} ${k + 1}`, record, example] as const)
    : [],
);

describe('the example of', () => {
  it.each(EXAMPLES)('%s holds', (_, record, example) => {
    const got = runExample(record, example);
    const want = tensorOf(example.out);
    expect(got.shape).toEqual(want.shape);
    const { rtol, atol } = record.tolerance ?? { rtol: 1e-3, atol: 1e-6 };
    const [p, q] = [toNumbers(got), toNumbers(want)];
    q.forEach((x, k) => {
      const y = p[k] as number;
      expect(Object.is(y, x) || Math.abs(y - x) <= atol + rtol * Math.abs(x), `element ${k}: ${y}, not ${x}`).toBe(
        true,
      );
    });
  });
});
