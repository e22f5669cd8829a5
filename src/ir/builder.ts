// Builds tensor IR: the core makes nodes in the current region; build-math.ts and build-shape.ts add the
// vocabulary records are written in. Bodies read other values through `read`, which turns a one-element constant
// into an immediate. Every method checks types and throws CompileError E204 in the model's terms.

import { CompileError, invariant } from '../support/errors.js';
import { fromNumbers, sizeOf, type Tensor } from '../support/tensor.js';
import type { DType } from '../support/dtype.js';
import { type MathBuilder, mathBuilder } from './build-math.js';
import { type ShapeBuilder, shapeBuilder } from './build-shape.js';
import { bounds, type Dim, dimKey, type Sym, symDim } from './dim.js';
import type { Kernel } from './kernel.js';
import type { HostCall, Origin } from './program.js';
import { constant, type Expr, i32, load, variable } from './scalar.js';
import { symbolicValues } from './symbolic.js';
import {
  type Bind,
  type ConstData,
  makeNode,
  makeParam,
  type Node,
  type Payload,
  type Reducer,
  type Region,
  type State,
  type TensorType,
  type Value,
} from './tensor.js';

/** How a body reads an operand. `pad`: the value outside the operand's range; `guard`: read only where true. */
export type Read = (v: Value, index: readonly Expr[], more?: { pad?: number | Expr; guard?: Expr }) => Expr;

export interface GenericSpec {
  readonly shape: readonly Dim[];
  readonly reduce?: readonly Dim[];
  readonly reducer?: Reducer;
  /** Element type of the result; only argmax/argmin need it (default i64). */
  readonly dtype?: DType;
  readonly body: (i: readonly Expr[], r: readonly Expr[], read: Read) => Expr;
}

export interface KernelSpec {
  readonly inputs: readonly Value[];
  readonly outputs: readonly TensorType[];
  readonly kernel: Kernel;
}

export interface CoreBuilder {
  /** Types of values made from now on carry this origin. */
  setOrigin(origin: Origin): void;
  node(
    payload: Payload,
    inputs: readonly Value[],
    types: readonly TensorType[],
    binds?: readonly Bind[],
  ): readonly Value[];
  constant(t: Tensor): Value;
  lazyConstant(data: ConstData): Value;
  scalar(value: number | bigint | boolean, dtype: DType): Value;
  generic(spec: GenericSpec): Value;
  /** Copy of `dest` with elements replaced or combined; see the scatter primitive. */
  scatter(
    dest: Value,
    space: readonly Dim[],
    mode: 'set' | 'add' | 'mul' | 'min' | 'max',
    at: (i: readonly Expr[], read: Read) => { readonly index: readonly Expr[]; readonly value: Expr },
  ): Value;
  kernel(spec: KernelSpec): readonly Value[];
  host(name: string, call: HostCall, inputs: readonly Value[], types: readonly TensorType[]): readonly Value[];
  /** A sub-region: `f` gets fresh parameters of the given types and returns the results. */
  region(params: readonly TensorType[], f: (params: readonly Value[]) => readonly Value[]): Region;
  if(cond: Value, then: Region, otherwise: Region): readonly Value[];
  while(init: readonly Value[], test: Region, body: Region): readonly Value[];
  scan(
    count: Dim,
    carried: readonly Value[],
    scanned: readonly Value[],
    body: (step: Dim, carried: readonly Value[], slices: readonly Value[]) => readonly Value[],
  ): readonly Value[];
  state(name: string, type: TensorType, init: Tensor): void;
  stateRead(name: string): Value;
  stateWrite(name: string, value: Value): void;
  /** Sizes as an i64 vector. */
  dims(dims: readonly Dim[]): Value;
  /** One size as an i64 scalar. */
  dim(d: Dim): Value;
  /** Exact sizes an integer tensor holds, folded symbolically; null where it depends on data. */
  values(v: Value): readonly Dim[] | null;
  /** A new symbol whose value a scalar integer value gives at run time. */
  bindSym(v: Value, hint: string, lo: number, hi: number): Dim;
  /** The same for a size nothing bounds: at most `hi` is assumed, and a value outside is an error when the program runs. */
  checkedSize(v: Value, hint: string, hi: number): Dim;
  /** A symbol for such a size, to be bound later: its bound may be known better than `hi`. */
  checkedSym(hint: string, hi: number): Sym;
  bindTo(sym: Sym, v: Value): Dim;
  /** An error when the program runs, unless `d` is zero then. */
  requireZero(d: Dim, hint: string): void;
  freshSym(hint: string, lo: number, hi: number): Sym;
  /** Gives a value the model's own name. */
  named(v: Value, name: string): Value;
  readonly states: readonly State[];
  /** The nodes made so far in the current region (for the importer). */
  readonly nodes: readonly Node[];
}

export type Builder = CoreBuilder & MathBuilder & ShapeBuilder;

const NO_ORIGIN: Origin = { op: '', node: '', index: -1, path: [] };
const AXIS = Array.from({ length: 16 }, (_, k) => variable(`i${k}`, 'i32'));
const REDUCTION_AXIS = Array.from({ length: 16 }, (_, k) => variable(`r${k}`, 'i32'));

export const axisVars = (n: number): readonly Expr[] => AXIS.slice(0, n);
export const reductionVars = (n: number): readonly Expr[] => REDUCTION_AXIS.slice(0, n);

/** The immediate a one-element numeric constant stands for. */
function immediate(v: Value): Expr | null {
  const n = v.node;
  if (n?.kind !== 'const' || n.data.dtype === 'string' || sizeOf(n.data.shape) !== 1) return null;
  if (!['f32', 'f64', 'i64', 'i32', 'i16', 'i8', 'u64', 'u32', 'u16', 'u8', 'i1'].includes(n.data.dtype)) return null;
  return constant(n.data.read().data[0] as number | bigint, n.data.dtype);
}

/** Collects the operands a body reads. */
function reader(inputs: Value[]): Read {
  return (v, index, more = {}) => {
    if (index.length !== v.type.shape.length)
      throw new CompileError('E204', `rank ${index.length} does not fit a tensor of rank ${v.type.shape.length}`);
    if (v.type.dtype === 'string')
      throw new CompileError('E202', 'strings are text for a host, and this operator computes with numbers');
    const now = more.pad === undefined && more.guard === undefined ? immediate(v) : null;
    if (now) return now;
    let slot = inputs.indexOf(v);
    if (slot < 0) slot = inputs.push(v) - 1;
    const pad = typeof more.pad === 'number' ? constant(more.pad, v.type.dtype) : more.pad;
    const indexes = index.map((x, k) => (v.type.shape[k] === 1 && pad === undefined ? i32(0) : x));
    return load(slot, indexes, v.type.dtype, { pad, guard: more.guard });
  };
}

/** `bound`: the upper bound of a checked symbol, where one is known. */
export function createBuilder(bound: (name: string) => number | undefined = () => undefined): Builder {
  let origin = NO_ORIGIN;
  let nodes: Node[] = [];
  const symNames = new Set<string>();
  const states: State[] = [];

  const core: CoreBuilder = {
    states,
    get nodes() {
      return nodes;
    },
    setOrigin: (o) => {
      origin = o;
    },
    node(payload, inputs, types, binds = []) {
      const node = makeNode(payload, inputs, types, origin, binds);
      nodes.push(node);
      return node.outputs;
    },
    constant: (t) => core.lazyConstant({ dtype: t.dtype, shape: t.shape, read: () => t }),
    lazyConstant: (data) => one(core.node({ kind: 'const', data }, [], [{ dtype: data.dtype, shape: data.shape }])),
    scalar: (x, dtype) => core.constant(scalarTensor(x, dtype)),
    generic(spec) {
      const inputs: Value[] = [];
      const reduce = spec.reduce ?? [];
      const body = spec.body(axisVars(spec.shape.length), reductionVars(reduce.length), reader(inputs));
      const reducer = reduce.length > 0 ? (spec.reducer ?? 'add') : null;
      const dtype = reducer?.startsWith('arg') ? (spec.dtype ?? 'i64') : body.dtype;
      return one(
        core.node({ kind: 'generic', shape: spec.shape, reduce, reducer, body, post: null }, inputs, [
          { dtype, shape: spec.shape },
        ]),
      );
    },
    scatter(dest, space, mode, at) {
      const inputs: Value[] = [dest];
      const { index, value: body } = at(axisVars(space.length), reader(inputs));
      if (index.length !== dest.type.shape.length || body.dtype !== dest.type.dtype)
        throw new CompileError(
          'E204',
          `a position of rank ${index.length} and a ${body.dtype} do not fit the scattered tensor`,
        );
      return one(core.node({ kind: 'scatter', space, index, body, mode }, inputs, [dest.type]));
    },
    kernel: ({ inputs, outputs, kernel }) => core.node({ kind: 'kernel', kernel }, inputs, outputs),
    host: (name, call, inputs, types) => core.node({ kind: 'call', callee: name, host: call }, inputs, types),
    region(types, f) {
      const outer = nodes;
      nodes = [];
      try {
        const params = types.map((t, k) => makeParam(t, k));
        const results = f(params);
        return { params, nodes, results };
      } finally {
        nodes = outer;
      }
    },
    if: (cond, then, otherwise) => buildIf(cond, then, otherwise),
    while: (init, test, body) =>
      core.node(
        { kind: 'while', test, body },
        init,
        init.map((v) => v.type),
      ),
    scan(count, carried, scanned, body) {
      const step = core.freshSym('step', 0, Math.max(0, bounds(count)[1] - 1));
      const types = [
        ...carried.map((v) => v.type),
        ...scanned.map((v) => ({ ...v.type, shape: v.type.shape.slice(1) })),
      ];
      const region = core.region(types, (p) => body(symDim(step), p.slice(0, carried.length), p.slice(carried.length)));
      const outs = region.results.map((v, k) =>
        k < carried.length ? v.type : { ...v.type, shape: [count, ...v.type.shape] },
      );
      return core.node(
        { kind: 'scan', count, step, carried: carried.length, body: region },
        [...carried, ...scanned],
        outs,
      );
    },
    state: (name, type, init) => {
      if (!states.some((s) => s.name === name)) states.push({ name, type, init });
    },
    stateRead: (name) => one(core.node({ kind: 'state_read', state: name }, [], [stateType(name)])),
    stateWrite: (name, v) => {
      core.node({ kind: 'state_write', state: name }, [v], []);
    },
    dims: (dims) =>
      dims.every((d) => typeof d === 'number')
        ? core.constant({ dtype: 'i64', shape: [dims.length], data: BigInt64Array.from(dims as number[], BigInt) })
        : one(core.node({ kind: 'dim', dims }, [], [{ dtype: 'i64', shape: [dims.length] }])),
    dim: (d) =>
      typeof d === 'number'
        ? core.scalar(d, 'i64')
        : one(core.node({ kind: 'dim', dims: [d] }, [], [{ dtype: 'i64', shape: [] }])),
    values: (v) => symbolicValues(v),
    freshSym(hint, lo, hi) {
      let name = hint;
      for (let k = 0; symNames.has(name); k++) name = `${hint}_${k}`;
      symNames.add(name);
      return { name, lo, hi };
    },
    bindSym(v, hint, lo, hi) {
      invariant(v.type.shape.length === 0, 'a symbol is bound to a scalar');
      const known = symbolicValues(v)?.[0];
      if (known !== undefined) return known;
      return core.bindTo(core.freshSym(hint, lo, hi), v);
    },
    checkedSize(v, hint, hi) {
      return core.bindTo(core.checkedSym(hint, hi), v);
    },
    checkedSym(hint, hi) {
      const { name } = core.freshSym(hint, 0, hi);
      return { name, lo: 0, hi: bound(name) ?? hi, checked: true };
    },
    bindTo(sym, v) {
      invariant(v.type.shape.length === 0, 'a symbol is bound to a scalar');
      const body = load(0, [], v.type.dtype);
      const payload: Payload = { kind: 'generic', shape: [], reduce: [], reducer: null, body, post: null };
      core.node(payload, [v], [v.type], [{ output: 0, sym }]);
      return symDim(sym);
    },
    requireZero(d, hint) {
      if (d !== 0) core.bindTo({ ...core.freshSym(hint, 0, 0), checked: true }, core.dim(d));
    },
    named: (v, name) => Object.assign(v, { name }),
  };

  const stateType = (name: string): TensorType => {
    const s = states.find((x) => x.name === name);
    invariant(s, `no state ${name}`);
    return s.type;
  };

  /** Outputs whose sizes differ between the branches get a symbol, given by an extra output of both. */
  function buildIf(cond: Value, then: Region, otherwise: Region): readonly Value[] {
    const extra = { then: [] as Dim[], otherwise: [] as Dim[], binds: [] as Bind[] };
    const count = then.results.length;
    const types = then.results.map((a, k): TensorType => {
      const b = otherwise.results[k] as Value;
      if (a.type.shape.length !== b.type.shape.length || a.type.dtype !== b.type.dtype)
        throw new CompileError('E204', `the branches give different types for output ${k}`);
      const shape = a.type.shape.map((x, axis) => {
        const y = b.type.shape[axis] as Dim;
        if (dimKey(x) === dimKey(y)) return x;
        const sym = core.freshSym('size', Math.min(bounds(x)[0], bounds(y)[0]), Math.max(bounds(x)[1], bounds(y)[1]));
        extra.binds.push({ output: count + extra.then.push(x) - 1, sym });
        extra.otherwise.push(y);
        return symDim(sym);
      });
      return { dtype: a.type.dtype, shape };
    });
    const withSizes = (r: Region, dims: readonly Dim[]): Region => {
      const sizes = core.region([], () => dims.map((d) => core.dim(d)));
      return { params: [], nodes: [...r.nodes, ...sizes.nodes], results: [...r.results, ...sizes.results] };
    };
    const all = [...types, ...extra.then.map((): TensorType => ({ dtype: 'i64', shape: [] }))];
    const payload: Payload = {
      kind: 'if',
      then: withSizes(then, extra.then),
      else: withSizes(otherwise, extra.otherwise),
    };
    return core.node(payload, [cond], all, extra.binds).slice(0, count);
  }

  const builder = core as Builder;
  Object.assign(core, mathBuilder(builder), shapeBuilder(builder));
  return builder;
}

const one = (vs: readonly Value[]): Value => vs[0] as Value;

function scalarTensor(x: number | bigint | boolean, dtype: DType): Tensor {
  const n = typeof x === 'boolean' ? Number(x) : x;
  const make = SCALAR_ARRAYS[dtype];
  return make ? { dtype, shape: [], data: make(n) } : fromNumbers(dtype, [], [n]);
}

const SCALAR_ARRAYS: Partial<Record<DType, (n: number | bigint) => Tensor['data']>> = {
  f64: (n) => Float64Array.of(Number(n)),
  f32: (n) => Float32Array.of(Number(n)),
  i64: (n) => BigInt64Array.of(BigInt(n)),
  u64: (n) => BigUint64Array.of(BigInt(n)),
  i32: (n) => Int32Array.of(Number(n)),
  u32: (n) => Uint32Array.of(Number(n)),
  i16: (n) => Int16Array.of(Number(n)),
  u16: (n) => Uint16Array.of(Number(n)),
  i8: (n) => Int8Array.of(Number(n)),
  u8: (n) => Uint8Array.of(Number(n)),
  i1: (n) => Uint8Array.of(Number(n) ? 1 : 0),
};
