// What a reader hands to the importer: one shape for ONNX and TFLite, still in the formats' own op names.
// Names are value names, unique within a graph; '' is an absent optional. Nothing here is interpreted yet.

import type { Tensor } from '../support/tensor.js';
import type { DType } from '../support/dtype.js';

export interface SourceModel {
  readonly format: 'onnx' | 'tflite';
  /** Path or name for messages. */
  readonly file: string;
  /** ONNX: domain → opset ('' is written 'ai.onnx'). TFLite: { tflite: schema version }. */
  readonly opsets: Readonly<Record<string, number>>;
  readonly producer: string;
  /** Entry graph first. TFLite: every subgraph, in file order. ONNX: the one main graph (subgraphs sit in attributes). */
  readonly graphs: readonly SourceGraph[];
  /** TFLite signatures: entry points with names for inputs and outputs; ONNX: empty. */
  readonly signatures: readonly SourceSignature[];
  readonly metadata: Readonly<Record<string, string>>;
}

export interface SourceSignature {
  readonly key: string;
  readonly graph: number;
  readonly inputs: Readonly<Record<string, string>>;
  readonly outputs: Readonly<Record<string, string>>;
}

export interface SourceGraph {
  readonly name: string;
  readonly inputs: readonly SourceValue[];
  readonly outputs: readonly SourceValue[];
  /** In execution order (the reader sorts topologically if the file does not). */
  readonly nodes: readonly SourceNode[];
  /** Constants of this graph, read lazily: decoding happens on the first call. */
  readonly initializers: ReadonlyMap<string, LazyTensor>;
  /** Types and shapes the file declares for intermediate values: hints, checked rather than trusted. */
  readonly values: ReadonlyMap<string, SourceValue>;
}

/** A constant whose bytes stay in the file until asked for. */
export interface LazyTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly read: () => Tensor;
}

export interface SourceValue {
  readonly name: string;
  readonly type: SourceType;
  /** Name for people where it differs from `name` (TFLite tensors are `t<index>` with their file name here). */
  readonly label?: string;
  readonly quant?: SourceQuant;
  /** TFLite `is_variable`: keeps its contents between calls. */
  readonly variable?: boolean;
}

export type SourceType =
  | { readonly kind: 'tensor'; readonly dtype: DType; readonly shape: readonly SourceDim[] | null }
  | { readonly kind: 'sequence' | 'optional'; readonly element: SourceType }
  | { readonly kind: 'map'; readonly key: DType; readonly value: SourceType }
  | { readonly kind: 'unknown' };

/** A number, a symbol's name, or null for an unnamed unknown (TFLite: -1 in shape_signature). */
export type SourceDim = number | string | null;

/** Affine quantisation: real = scale · (q − zeroPoint). One entry per tensor, or per slice along `axis`. */
export interface SourceQuant {
  readonly scale: Float32Array;
  readonly zeroPoint: readonly number[];
  readonly axis: number;
  /** Blockwise quantisation (TFLite): names of the tensors that hold scales and zero points. */
  readonly block?: { readonly scales: string; readonly zeroPoints: string; readonly size: number };
}

export interface SourceNode {
  /** The format's own name: `LeakyRelu`, `LEAKY_RELU`; for a TFLite custom op its custom code. */
  readonly op: string;
  /** 'ai.onnx', 'ai.onnx.ml', 'com.microsoft', …; 'tflite' for builtins, 'tflite.custom' for custom ops. */
  readonly domain: string;
  /** ONNX: opset in force for the domain. TFLite: operator version. */
  readonly version: number;
  readonly name: string;
  /** Position in its graph. */
  readonly index: number;
  /** Provenance through inlined functions and subgraphs, outermost first, e.g. ['If_3.then_branch', 'MyFn']. */
  readonly path: readonly string[];
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** ONNX attributes by name; TFLite builtin options by their schema field name (`stride_w`), enums as their schema names ('SAME', 'RELU6'),
   *  custom ops: the flexbuffer map's entries, or `{ raw: bytes }` where the options are not a flexbuffer map. */
  readonly attrs: ReadonlyMap<string, AttrValue>;
}

export type AttrValue =
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'int'; readonly value: bigint }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'bool'; readonly value: boolean }
  | { readonly kind: 'bytes'; readonly value: Uint8Array }
  | { readonly kind: 'floats'; readonly value: readonly number[] }
  | { readonly kind: 'ints'; readonly value: readonly bigint[] }
  | { readonly kind: 'strings'; readonly value: readonly string[] }
  | { readonly kind: 'tensor'; readonly value: Tensor }
  | { readonly kind: 'graph'; readonly value: SourceGraph }
  | { readonly kind: 'graphs'; readonly value: readonly SourceGraph[] }
  | { readonly kind: 'type'; readonly value: SourceType };
