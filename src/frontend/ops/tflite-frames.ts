// The micro front end's operators that remember samples between calls: framing, stacking, delay, overlap-add, and the
// circular buffer of streaming models. Each keeps its history in a state of its own, named after the node.

import type { Builder } from '../../ir/builder.js';
import { type Dim, isConst, product } from '../../ir/dim.js';
import { e } from '../../ir/expr.js';
import { cast, type Expr } from '../../ir/scalar.js';
import type { TensorType, Value } from '../../ir/tensor.js';
import { isFloat } from '../../support/dtype.js';
import { fromNumbers, sizeOf } from '../../support/tensor.js';
import { type AnyRecord, type LowerContext, op } from './record.js';

/** Makes a state for the node, filled with one value; gives its name. */
export function internalState(b: Builder, ctx: LowerContext, what: string, type: TensorType, fill = 0): string {
  const { source } = ctx.reader;
  const name = `${source.name}/${source.outputs[0] ?? source.index}.${what}`;
  if (!type.shape.every(isConst)) ctx.limit('a history of a size that is not fixed', 'Fix it with --dim');
  const shape = type.shape as readonly number[];
  b.state(name, type, fromNumbers(type.dtype, shape, new Array<number>(sizeOf(shape)).fill(fill)));
  return name;
}

const last = (x: Value): number => x.type.shape.at(-1) as number;

/** x as [rows, samples]. */
const rowsOf = (b: Builder, x: Value): Value => b.reshape(x, [product(x.type.shape.slice(0, -1)), last(x)]);

/** History of `length` samples a row, then x [rows, n]; what is kept for the next call is the newest `length`. */
function withHistory(b: Builder, ctx: LowerContext, x: Value, length: number): Value {
  if (length === 0) return x;
  const name = internalState(b, ctx, 'history', { dtype: x.type.dtype, shape: [x.type.shape[0] as Dim, length] });
  const all = b.concat([b.stateRead(name), x], 1);
  b.stateWrite(name, b.narrow(all, 1, last(x), length));
  return all;
}

/** A number that counts up by one each call and stops at `most`; its value before this call. */
function callsBefore(b: Builder, ctx: LowerContext, most: number): Value {
  const name = internalState(b, ctx, 'calls', { dtype: 'i32', shape: [] });
  const before = b.stateRead(name);
  b.stateWrite(
    name,
    b.map([before], (n) => e.min(e.add(n, 1), most)),
  );
  return before;
}

/** `value` where valid, else what it was when last valid: the reference leaves the output as it is. */
function held(b: Builder, ctx: LowerContext, value: Value, valid: Value): readonly Value[] {
  const name = internalState(b, ctx, 'held', value.type);
  const out = b.select(valid, value, b.stateRead(name));
  b.stateWrite(name, out);
  return [out, valid];
}

interface Framing {
  readonly size: number;
  readonly step: number;
  readonly prefill: boolean;
}

/** Without prefill, frames come from a buffer of whole steps and start when that is full. */
function frames(b: Builder, ctx: LowerContext, x: Value, { size, step, prefill }: Framing): readonly Value[] {
  const rows = rowsOf(b, x);
  const steps = Math.ceil(size / step);
  const all = withHistory(b, ctx, rows, (prefill ? size : steps * step) - step);
  const count = last(x) / step;
  const framed = b.view(all, [rows.type.shape[0] as Dim, count, size], ([r, f, i]) => [
    r as Expr,
    e.add(e.mul(f as Expr, step), i as Expr),
  ]);
  const shape = [
    ...x.type.shape.slice(0, -1),
    ...(ctx.declared(0)?.shape.length === x.type.shape.length ? [] : [count]),
    size,
  ];
  const y = b.reshape(framed, shape);
  if (prefill) return [y, b.scalar(true, 'i1')];
  return held(
    b,
    ctx,
    y,
    b.map([callsBefore(b, ctx, steps)], (n) => e.le(steps - 1, e.mul(n, count))),
  );
}

interface Stacking {
  readonly left: number;
  readonly right: number;
  readonly step: number;
}

/** The first frame stands for those before it; a stack is due after `right` more frames, then every `step`. */
function stack(b: Builder, ctx: LowerContext, x: Value, { left, right, step }: Stacking): readonly Value[] {
  const width = sizeOf(x.type.shape as number[]);
  const frame = b.reshape(x, [1, width]);
  const older = left + right;
  const all = older === 0 ? frame : withNeighbours(b, ctx, frame, older);
  const wait = internalState(b, ctx, 'wait', { dtype: 'i32', shape: [] }, right);
  const waiting = b.stateRead(wait);
  b.stateWrite(
    wait,
    b.map([waiting], (n) => e.select(e.eq(n, 0), step - 1, e.sub(n, 1))),
  );
  return held(
    b,
    ctx,
    b.reshape(all, [width * (older + 1)]),
    b.map([waiting], (n) => e.eq(n, 0)),
  );
}

/** `older` frames before this one; before the first frame there are copies of it. */
function withNeighbours(b: Builder, ctx: LowerContext, frame: Value, older: number): Value {
  const name = internalState(b, ctx, 'frames', { dtype: frame.type.dtype, shape: [older, last(frame)] });
  const first = callsBefore(b, ctx, 1);
  const history = b.map([b.stateRead(name), frame, first], (h, v, n) => e.select(e.eq(n, 0), v, h));
  const all = b.concat([history, frame], 0);
  b.stateWrite(name, b.narrow(all, 0, 1, older));
  return all;
}

const saturated = (x: Expr): Expr => cast(e.clamp(x, -32768, 32767), 'i16');

/** Frames [rows, count, size] laid over each other `step` apart; what is not complete yet waits in the state. */
function overlapAdd(b: Builder, ctx: LowerContext, x: Value, step: number): Value {
  const size = last(x);
  const [outer, count] = [x.type.shape.slice(0, -2), x.type.shape.at(-2) as Dim];
  const rows = product(outer);
  const name = internalState(b, ctx, 'pending', { dtype: x.type.dtype, shape: [rows, size] });
  const steps = b.transpose(b.reshape(x, [rows, count, size]), [1, 0, 2]);
  const sum = (p: Expr, q: Expr): Expr =>
    isFloat(p.dtype) ? e.add(p, q) : saturated(e.add(cast(p, 'i32'), cast(q, 'i32')));
  const [pending, done] = b.scan(count, [b.stateRead(name)], [steps], (_s, [old], [frame]) => {
    const total = b.map([old as Value, frame as Value], sum);
    const rest = b.concat([b.narrow(total, 1, step, size - step), b.full([rows, step], 0, x.type.dtype)], 1);
    return [rest, b.narrow(total, 1, 0, step)];
  }) as [Value, Value];
  b.stateWrite(name, pending);
  const joined = b.transpose(done, [1, 0, 2]);
  return b.reshape(joined, [...outer, product([count, step])]);
}

/** The newest `slots` inputs, oldest first. */
function circularBuffer(b: Builder, ctx: LowerContext, x: Value): Value {
  const shape = ctx.declared(0)?.shape ?? ctx.limit('the number of slots is not stated');
  const name = internalState(b, ctx, 'slots', { dtype: x.type.dtype, shape });
  const slots = shape[1] as number;
  const kept = b.narrow(b.stateRead(name), 1, 1, slots - 1);
  const all = b.concat([kept, b.reshape(x, [shape[0] as Dim, 1, ...shape.slice(2)])], 1);
  b.stateWrite(name, all);
  return all;
}

export const records: readonly AnyRecord[] = [
  op<'x', Framing>('signal_framer', {
    doc: 'TFLite Micro: overlapping frames of a stream; the second result says whether there are enough samples yet.',
    inputs: ['x'],
    tflite: {
      'custom:SignalFramer': (n) => ({
        size: n.int('frame_size'),
        step: n.int('frame_step'),
        prefill: n.bool('prefill', false),
      }),
    },
    lower: ({ x }, a, b, ctx) => frames(b, ctx, x, a),
  }),
  op<'x', Stacking>('signal_stacker', {
    doc: 'TFLite Micro: a frame with its neighbours; the second result says whether one is due.',
    inputs: ['x'],
    tflite: {
      'custom:SignalStacker': (n) => ({
        left: n.int('stacker_left_context'),
        right: n.int('stacker_right_context'),
        step: n.int('stacker_step'),
      }),
    },
    lower: ({ x }, a, b, ctx) => stack(b, ctx, x, a),
  }),
  op<'x', { readonly length: number }>('signal_delay', {
    doc: 'TFLite Micro: the stream, a number of samples late.',
    inputs: ['x'],
    tflite: { 'custom:SignalDelay': (n) => ({ length: n.int('delay_length') }) },
    lower: ({ x }, { length }, b, ctx) =>
      b.reshape(b.narrow(withHistory(b, ctx, rowsOf(b, x), length), 1, 0, last(x)), x.type.shape),
  }),
  op<'x', { readonly step: number }>('signal_overlap_add', {
    doc: 'TFLite Micro: overlapping frames summed back to a stream.',
    inputs: ['x'],
    tflite: { 'custom:SignalOverlapAdd': (n) => ({ step: n.int('frame_step') }) },
    lower: ({ x }, { step }, b, ctx) => overlapAdd(b, ctx, x, step),
  }),
  op<'x', { readonly cycles: number }>('circular_buffer', {
    doc: 'TFLite Micro: the newest inputs, oldest first.',
    inputs: ['x'],
    tflite: { 'custom:CIRCULAR_BUFFER': (n) => ({ cycles: n.int('cycles_max', 1) }) },
    quantized: (inputs, a, b, ctx) => checkedBuffer(b, ctx, inputs.x, a.cycles),
    lower: ({ x }, { cycles }, b, ctx) => checkedBuffer(b, ctx, x, cycles),
    limits: ['A buffer that ends the invocation until several inputs have come (cycles_max > 1) is refused.'],
  }),
];

function checkedBuffer(b: Builder, ctx: LowerContext, x: Value, cycles: number): Value {
  if (cycles > 1)
    ctx.limit(`a circular buffer that runs the model every ${cycles} calls`, 'Split the model at the buffer');
  return circularBuffer(b, ctx, x);
}
