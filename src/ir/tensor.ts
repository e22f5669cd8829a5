// Level one: tensors. A module has entries; an entry is a region: parameters, nodes in execution order, results.
// Nodes are immutable; values refer to the node that makes them (null: a region parameter). Regions nested in
// nodes may read values of the regions around them. The thirteen node kinds below are the whole vocabulary.

import type { DType } from '../support/dtype.js';
import type { Tensor } from '../support/tensor.js';
import type { Dim, Sym } from './dim.js';
import type { Kernel } from './kernel.js';
import type { HostCall, Origin } from './program.js';
import type { Expr } from './scalar.js';

export interface TensorType {
  readonly dtype: DType;
  readonly shape: readonly Dim[];
}

export interface Value {
  readonly id: number;
  readonly type: TensorType;
  readonly node: Node | null;
  readonly output: number;
  /** The model's own name for it, where it has one. */
  readonly name?: string | undefined;
}

/** argmax and argmin yield the position along the one reduction axis; the first on ties, `_last` the last. */
export const REDUCERS = [
  'add',
  'mul',
  'max',
  'min',
  'and',
  'or',
  'argmax',
  'argmin',
  'argmax_last',
  'argmin_last',
] as const;
export type Reducer = (typeof REDUCERS)[number];

/** Constant contents, read when first needed. Equal `key` means equal contents. */
export interface ConstData {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly read: () => Tensor;
}

/** Axis variables in bodies are named by position: parallel i0, i1, …; reduction r0, r1, … (all i32). */
export type Payload =
  | { readonly kind: 'const'; readonly data: ConstData }
  /** out[i…] = post(reduce over r… of body). `shape` = parallel sizes = output shape; `reduce` = reduction sizes.
   *  `post` (the epilogue) reads the reduced value as the variable `acc`; null where it is the value itself. */
  | {
      readonly kind: 'generic';
      readonly shape: readonly Dim[];
      readonly reduce: readonly Dim[];
      readonly reducer: Reducer | null;
      readonly body: Expr;
      readonly post: Expr | null;
    }
  /** out[i…] = in[map(i…)], always in range; 'reshape' keeps the row-major order of elements. */
  | { readonly kind: 'view'; readonly map: 'reshape' | readonly Expr[] }
  | { readonly kind: 'concat'; readonly axis: number }
  /** Copy of input 0, then for every point of `space` in row-major order: out[index] ⊕= body; points whose index is out of range are dropped. */
  | {
      readonly kind: 'scatter';
      readonly space: readonly Dim[];
      readonly index: readonly Expr[];
      readonly body: Expr;
      readonly mode: 'set' | 'add' | 'mul' | 'min' | 'max';
    }
  /** inputs = carried…, scanned…; body(carried…, slices along axis 0…) → carried…, stacked…. `step` is the running index. */
  | {
      readonly kind: 'scan';
      readonly count: Dim;
      readonly step: Sym;
      readonly carried: number;
      readonly body: Region;
    }
  /** inputs = carried…; test(carried…) → i1 scalar; body(carried…) → carried…. */
  | { readonly kind: 'while'; readonly test: Region; readonly body: Region }
  /** input 0 = i1 scalar; the regions take no parameters. */
  | { readonly kind: 'if'; readonly then: Region; readonly else: Region }
  /** Another region of the module, or (host) a function only a host can run. */
  | { readonly kind: 'call'; readonly callee: string; readonly host: HostCall | null }
  /** Loop program; params = inputs…, outputs…, scratch…. */
  | { readonly kind: 'kernel'; readonly kernel: Kernel }
  | { readonly kind: 'state_read'; readonly state: string }
  | { readonly kind: 'state_write'; readonly state: string }
  /** Sizes as an i64 vector (rank 1), or a scalar (rank 0) of one size. */
  | { readonly kind: 'dim'; readonly dims: readonly Dim[] };

export type Kind = Payload['kind'];

/** An output whose (scalar integer) value defines a symbol, clamped to its bounds. */
export interface Bind {
  readonly output: number;
  readonly sym: Sym;
}

export type Node<P extends Payload = Payload> = P & {
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly binds: readonly Bind[];
  readonly origin: Origin;
};

export type NodeOf<K extends Kind> = Node<Extract<Payload, { kind: K }>>;

export interface Region {
  readonly params: readonly Value[];
  readonly nodes: readonly Node[];
  readonly results: readonly Value[];
}

export interface Entry {
  readonly name: string;
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly body: Region;
}

/** A named buffer that outlives a call. */
export interface State {
  readonly name: string;
  readonly type: TensorType;
  readonly init: Tensor;
}

export interface Module {
  readonly name: string;
  readonly entries: readonly Entry[];
  readonly states: readonly State[];
}

export const regionsOf = (n: Node): readonly Region[] => {
  switch (n.kind) {
    case 'scan':
      return [n.body];
    case 'while':
      return [n.test, n.body];
    case 'if':
      return [n.then, n.else];
    default:
      return [];
  }
};

let nextValue = 0;

/** A node and its output values. Value ids only tell values apart; printing numbers them afresh. */
export function makeNode(
  payload: Payload,
  inputs: readonly Value[],
  types: readonly TensorType[],
  origin: Origin,
  binds: readonly Bind[] = [],
  names: readonly (string | undefined)[] = [],
): Node {
  const outputs: Value[] = [];
  const node: Node = { ...payload, inputs, outputs, binds, origin };
  types.forEach((type, output) => {
    outputs.push({ id: nextValue++, type, node, output, name: names[output] });
  });
  return node;
}

/** A region parameter. */
export const makeParam = (type: TensorType, output: number, name?: string): Value => ({
  id: nextValue++,
  type,
  node: null,
  output,
  name,
});
