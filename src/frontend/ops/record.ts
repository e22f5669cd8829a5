// The contract of an operator record: everything heddle knows of one operator stands in one of these.
// `onnx` and `tflite` decode a source node into canonical attributes; `lower` says what it means in primitives.
// Tables, documentation and tests are derived from records, never written beside them.

import type { Builder } from '../../ir/builder.js';
import type { Dim } from '../../ir/dim.js';
import type { HostCall } from '../../ir/program.js';
import type { TensorType, Value } from '../../ir/tensor.js';
import type { DType } from '../../support/dtype.js';
import type { Tensor } from '../../support/tensor.js';
import type { SourceGraph, SourceNode, SourceQuant } from '../source.js';

/** Inputs by name from the record's `inputs` list: 'x' required, 'bias?' optional, 'xs*' the rest as a list. */
export type Inputs<S extends string> = {
  readonly [K in S as K extends `${infer N}?` | `${infer N}*` ? N : K]: K extends `${string}?`
    ? Value | undefined
    : K extends `${string}*`
      ? readonly Value[]
      : Value;
};

/** Reads a source node while it is decoded: attributes with defaults, and what is known of its inputs. */
export interface NodeReader {
  readonly source: SourceNode;
  /** Version in force: ONNX opset of the node's domain, TFLite operator version. */
  readonly version: number;
  has(name: string): boolean;
  float(name: string, fallback?: number): number;
  int(name: string, fallback?: number): number;
  bool(name: string, fallback?: boolean): boolean;
  string(name: string, fallback?: string): string;
  floats(name: string, fallback?: readonly number[]): readonly number[];
  ints(name: string, fallback?: readonly number[]): readonly number[];
  strings(name: string, fallback?: readonly string[]): readonly string[];
  tensor(name: string): Tensor | undefined;
  graph(name: string): SourceGraph;
  /** Element type from an ONNX `TensorProto.DataType` attribute (int) or a TFLite type name (string). */
  dtype(name: string, fallback?: DType): DType;
  /** Number of inputs in the file, absent ones included. */
  readonly inputCount: number;
  readonly outputCount: number;
  /** Input by position; undefined where absent. */
  input(i: number): Value | undefined;
  /** Exact sizes an integer input stands for, folded through shape arithmetic; undefined where absent. Throws a limit where it depends on data. */
  dims(i: number): readonly Dim[] | undefined;
  /** As `dims`, but undefined also where it depends on data. */
  tryDims(i: number): readonly Dim[] | undefined;
  /** Contents of a constant input; undefined where absent or not constant. */
  constant(i: number): Tensor | undefined;
}

/** What `lower` may ask about the node beside its inputs and attributes. */
export interface LowerContext {
  readonly builder: Builder;
  readonly reader: NodeReader;
  /** TFLite fixed-point rounding in force. */
  readonly rounding: 'double' | 'single';
  /** TFLite quantisation of an input or output by position; undefined where not quantised. */
  quantIn(i: number): SourceQuant | undefined;
  quantOut(i: number): SourceQuant | undefined;
  /** The same of a tensor of the node's graph by name (TFLite: an operator's intermediates). */
  quantNamed(name: string): SourceQuant | undefined;
  /** The type the file declares for an output, if any (TFLite: always). */
  declared(i: number): TensorType | undefined;
  /** A constant of the node's graph by value name (TFLite: tensors that hold blockwise scales). */
  constantNamed(name: string): Value | undefined;
  /** A value of the node's graph that is there before it, by name. */
  valueNamed(name: string): Value | undefined;
  /** TFLite: which outputs or inputs are variables, by position → state name. */
  stateOf(i: number): string | undefined;
  /** Builds a subgraph's nodes in the current region with `args` for its inputs; outer names stay visible. */
  importGraph(graph: SourceGraph, args: readonly Value[]): readonly Value[];
  /** TFLite: subgraph by index. */
  subgraph(index: number): SourceGraph;
  /** Says that sizes hang on `v`: integer inputs of the program that it is computed from become symbols, with bounds
   *  assumed and checked, and the model is imported again. */
  sizesWanted(v: Value): void;
  /** Gives up on this node with a reason a user can act on (E202/E203/E205/E207…). */
  limit(message: string, hint?: string): never;
}

/** Decoded attributes. `$inputs` overrides the positional binding of inputs (e.g. TFLite's other order). */
export type Attrs = Readonly<Record<string, unknown>>;
export type Decode<A> = (
  n: NodeReader,
) => A & { readonly $inputs?: Readonly<Record<string, Value | readonly Value[] | undefined>> };

export interface Example {
  /** Inputs by name as nested arrays; types default to f32, else { dtype, data }. */
  readonly in: Readonly<Record<string, unknown>>;
  readonly attrs?: Attrs;
  readonly out: unknown;
}

export interface OpRecord<S extends string = string, A = Attrs> {
  /** Canonical name, snake_case. */
  readonly name: string;
  readonly doc: string;
  readonly inputs: readonly S[];
  /** 'LeakyRelu@6' or 'ai.onnx.ml:Normalizer@1': the first opset from which this decoding holds, until a later key of the same op. */
  readonly onnx?: Readonly<Record<string, Decode<A>>>;
  /** By builtin name ('LEAKY_RELU') or 'custom:TFLite_Detection_PostProcess'. */
  readonly tflite?: Readonly<Record<string, Decode<A>>>;
  readonly lower?: (inputs: Inputs<S>, attrs: A, b: Builder, ctx: LowerContext) => Value | readonly Value[];
  /** TFLite with quantised integer inputs or outputs. 'raw': `lower` works on the stored integers (pure data movement, equal
   *  quantisation). 'dequantize' (default): dequantise, `lower`, quantise. Else the integer arithmetic itself. */
  readonly quantized?:
    | 'raw'
    | 'dequantize'
    | ((inputs: Inputs<S>, attrs: A, b: Builder, ctx: LowerContext) => Value | readonly Value[]);
  /** Runs on a host only. `types` gives the outputs. */
  readonly reference?: {
    readonly types: (inputs: Inputs<S>, attrs: A, ctx: LowerContext) => readonly TensorType[];
    readonly run: (attrs: A) => HostCall;
  };
  /** Honest edges, in a sentence each, for the documentation. */
  readonly limits?: readonly string[];
  readonly tolerance?: { readonly rtol: number; readonly atol: number };
  readonly examples?: readonly Example[];
}

/** A record with its type parameters erased, as tables hold it. */
export type AnyRecord = OpRecord<string, Attrs>;

/** Makes a record; the name is the first argument so that it reads like a definition. */
export const op = <const S extends string, A extends object>(
  name: string,
  record: Omit<OpRecord<S, A>, 'name'>,
): AnyRecord => ({ name, ...record }) as unknown as AnyRecord;
