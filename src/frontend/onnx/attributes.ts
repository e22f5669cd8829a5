// AttributeProto → AttrValue. References to a function's attributes are resolved here: an unset one without a default is absent.
// Files older than IR version 2 have no `type`; there the field that is set decides.

import { CompileError, type ErrorPlace } from '../../support/errors.js';
import { sizeOf } from '../../support/tensor.js';
import type { AttrValue, SourceGraph } from '../source.js';
import type { BoundAttribute, ReadContext, Scope } from './scope.js';
import { readSparseTensor, readTensor } from './tensor-data.js';
import { readType } from './value-type.js';
import type { AttributeProto, GraphProto } from './wire.js';

/** Converts the subgraph in attribute `label`; `scope` is where its names belong. */
export type ReadSubgraph = (graph: GraphProto, scope: Scope, label: string) => SourceGraph;

/** Published AttributeType codes. */
const TYPES = [
  'undefined',
  'float',
  'int',
  'string',
  'tensor',
  'graph',
  'floats',
  'ints',
  'strings',
  'tensors',
  'graphs',
  'sparse_tensor',
  'sparse_tensors',
  'type',
  'types',
] as const;

type AttributeType = (typeof TYPES)[number];

/** A node's attributes as written, references replaced by what they refer to. Throws E206 for a reference outside a function. */
export function bindAttributes(
  attributes: readonly AttributeProto[],
  scope: Scope,
  at: ErrorPlace,
): Map<string, BoundAttribute> {
  const bound = new Map<string, BoundAttribute>();
  for (const proto of attributes) {
    const name = proto.name ?? '';
    const reference = proto.ref_attr_name;
    if (!reference) {
      bound.set(name, { proto, scope });
      continue;
    }
    if (!scope.attributes) {
      throw new CompileError('E206', `attribute "${name}" refers to "${reference}" outside a function`, { at });
    }
    const target = scope.attributes.get(reference);
    if (target) bound.set(name, target);
  }
  return bound;
}

/** The value of one bound attribute. */
export function readAttribute(
  name: string,
  { proto, scope }: BoundAttribute,
  context: ReadContext,
  at: ErrorPlace,
  readSubgraph: ReadSubgraph,
): AttrValue {
  const known = context.attributes.get(proto);
  if (known) return known;
  const type = typeOf(proto);
  if (type === 'graph') return { kind: 'graph', value: readSubgraph(proto.g ?? {}, scope, name) };
  if (type === 'graphs') {
    const value = (proto.graphs ?? []).map((graph, i) => readSubgraph(graph, scope, `${name}[${i}]`));
    return { kind: 'graphs', value };
  }
  const value = readPlain(name, proto, type, context, at);
  context.attributes.set(proto, value);
  return value;
}

function readPlain(
  name: string,
  proto: AttributeProto,
  type: Exclude<AttributeType, 'graph' | 'graphs'>,
  context: ReadContext,
  at: ErrorPlace,
): AttrValue {
  const tensorContext = { ...context, place: at };
  switch (type) {
    case 'float':
      return { kind: 'float', value: proto.f ?? 0 };
    case 'int':
      return { kind: 'int', value: BigInt(proto.i ?? 0) };
    case 'string':
      return readString(proto.s ?? new Uint8Array());
    case 'tensor':
      return { kind: 'tensor', value: readTensor(proto.t ?? {}, tensorContext).read() };
    case 'sparse_tensor': {
      const sparse = readSparseTensor(proto.sparse_tensor ?? {}, tensorContext);
      context.budget.spend(sizeOf(sparse.shape), at.node ?? '');
      return { kind: 'tensor', value: sparse.read() };
    }
    case 'floats':
      return { kind: 'floats', value: proto.floats ?? [] };
    case 'ints':
    case 'undefined':
      return { kind: 'ints', value: (proto.ints ?? []).map((v) => BigInt(v)) };
    case 'strings':
      return { kind: 'strings', value: (proto.strings ?? []).map((bytes) => new TextDecoder().decode(bytes)) };
    case 'type':
      return { kind: 'type', value: readType(proto.tp ?? {}, context.file, name) };
    default:
      throw new CompileError('E105', `attribute "${name}" holds a list of ${type}, which no operator defines`, { at });
  }
}

function readString(bytes: Uint8Array): AttrValue {
  try {
    return { kind: 'string', value: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) };
  } catch {
    return { kind: 'bytes', value: bytes };
  }
}

function typeOf(proto: AttributeProto): AttributeType {
  const declared = TYPES[proto.type ?? 0];
  if (declared && declared !== 'undefined') return declared;
  const present: readonly (readonly [AttributeType, unknown])[] = [
    ['float', proto.f],
    ['int', proto.i],
    ['string', proto.s],
    ['tensor', proto.t],
    ['graph', proto.g],
    ['sparse_tensor', proto.sparse_tensor],
    ['type', proto.tp],
    ['floats', proto.floats?.length || null],
    ['ints', proto.ints?.length || null],
    ['strings', proto.strings?.length || null],
    ['tensors', proto.tensors?.length || null],
    ['graphs', proto.graphs?.length || null],
    ['sparse_tensors', proto.sparse_tensors?.length || null],
    ['types', proto.type_protos?.length || null],
  ];
  return present.find(([, value]) => value !== null && value !== undefined)?.[0] ?? 'undefined';
}
