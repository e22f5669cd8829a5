// Where a node stands while a model is read: the main graph, or the body of a function being inlined. A scope says what
// a name is called outside, which opsets hold, and what the caller passed as attributes. Every node spends from one budget.

import { CompileError, type ErrorPlace } from '../../support/errors.js';
import type { ExternalFiles } from './external-data.js';
import type { AttrValue } from '../source.js';
import type { AttributeProto, FunctionProto, GraphProto, ModelProto } from './wire.js';

/** State of one readOnnx call. */
export interface ReadContext {
  readonly file: string;
  readonly bytes: Uint8Array;
  readonly external: ExternalFiles;
  readonly functions: ReadonlyMap<string, FunctionProto>;
  /** Every name the file or an earlier inlining uses for a value; what inlining makes up must not be among them. */
  readonly names: Set<string>;
  /** Decoded attributes, so that a function inlined a hundred times decodes its tensors once. */
  readonly attributes: Map<AttributeProto, AttrValue>;
  readonly budget: Budget;
}

/** An attribute together with the scope that its subgraphs' names belong to. */
export interface BoundAttribute {
  readonly proto: AttributeProto;
  readonly scope: Scope;
}

export interface Scope {
  /** What a value of this scope is called in the graph that is being built. */
  readonly rename: (name: string) => string;
  readonly prefix: string;
  readonly opsets: ReadonlyMap<string, number>;
  readonly path: readonly string[];
  /** Inside a function: the caller's attributes over the declared defaults. Null in the main graph. */
  readonly attributes: ReadonlyMap<string, BoundAttribute> | null;
  /** Keys of the functions being inlined, outermost first. */
  readonly calls: readonly string[];
}

/** Regions and inlined functions together. */
export const MAX_NESTING = 100;

/** Inlining may repeat a body; this bounds the total, in characters and parts, so that reading ends in a second or two. */
export class Budget {
  private left: number;

  constructor(
    private readonly file: string,
    fileBytes: number,
  ) {
    this.left = 2 ** 23 + Math.min(2 ** 25, 32 * fileBytes);
  }

  spend(units: number, node: string): void {
    this.left -= units;
    if (this.left < 0) {
      throw new CompileError('E105', 'its local functions or sparse tensors stand for far more than its size allows', {
        at: { file: this.file, node },
      });
    }
  }
}

export const functionKey = (domain: string, name: string, overload: string): string =>
  `${normalizeDomain(domain)}::${name}${overload ? `:${overload}` : ''}`;

export const normalizeDomain = (domain: string | null | undefined): string => domain || 'ai.onnx';

/** Every value name in a graph and the graphs below it. */
export function collectNames(graph: GraphProto, into: Set<string>): void {
  for (const value of [...(graph.input ?? []), ...(graph.output ?? []), ...(graph.initializer ?? [])]) {
    into.add(value.name ?? '');
  }
  for (const sparse of graph.sparse_initializer ?? []) into.add(sparse.values?.name ?? '');
  for (const node of graph.node ?? []) {
    for (const name of node.input ?? []) into.add(name);
    for (const name of node.output ?? []) into.add(name);
    for (const attribute of node.attribute ?? []) {
      if (attribute.g) collectNames(attribute.g, into);
      for (const inner of attribute.graphs ?? []) collectNames(inner, into);
    }
  }
}

/** Imports by domain; where a domain is imported twice the newer version counts. */
export function readOpsets(imports: ModelProto['opset_import']): Map<string, number> {
  const opsets = new Map<string, number>();
  for (const { domain, version } of imports ?? []) {
    const key = normalizeDomain(domain);
    opsets.set(key, Math.max(opsets.get(key) ?? 0, Number(version ?? 0)));
  }
  return opsets;
}

/** The version in force for a domain. Domains other than the standard one default to 1. */
export function opsetOf(scope: Scope, domain: string, at: ErrorPlace): number {
  const version = scope.opsets.get(domain) ?? (domain === 'ai.onnx' ? undefined : 1);
  if (version === undefined) {
    throw new CompileError('E206', 'no opset is imported for the standard domain', {
      at,
      hint: 'Add an opset_import entry for domain "" to the model',
    });
  }
  return version;
}
