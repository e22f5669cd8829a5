// The tensors of one subgraph: a SourceValue for each, named `t<index>`, and a LazyTensor for each that has bytes.
// A dimension is unknown (null) where `shape_signature` says -1. Rank 0 without `has_rank` may be a scalar or of unknown
// rank: it counts as a scalar where a shape must be known (constants, graph inputs) and as unknown where it is computed.

import { CompileError } from '../../support/errors.js';
import { STORAGE, sizeOf } from '../../support/tensor.js';
import type { LazyTensor, SourceDim, SourceType, SourceValue } from '../source.js';
import { denseConstant, type ModelBuffer } from './constants.js';
import { type ElementType, elementType } from './element-types.js';
import { malformed, numberOf, numbersOf, spendElements, stringOf, type Table, tableOf } from './flat.js';
import { TABLES } from './generated/schema.js';
import { readQuant } from './quantization.js';
import { sparseConstant } from './sparse.js';
import { valueName } from './value-names.js';

export interface GraphTensors {
  readonly values: Map<string, SourceValue>;
  readonly initializers: ReadonlyMap<string, LazyTensor>;
}

/** Far beyond any operator's; keeps work that grows with rank squared, or recurses by rank, small. */
const MAX_RANK = 64;

/** Which tensors of the subgraph are its inputs, and which are read though nothing writes them first. */
export interface TensorRoles {
  readonly inputs: ReadonlySet<number>;
  readonly unwritten: ReadonlySet<number>;
}

export function readTensors(
  tables: readonly Table<'Tensor'>[],
  buffers: readonly ModelBuffer[],
  roles: TensorRoles,
): GraphTensors {
  const values = new Map<string, SourceValue>();
  const initializers = new Map<string, LazyTensor>();
  tables.forEach((table, index) => {
    const name = valueName(index);
    const { value, constant } = readTensor(table, index, buffers, roles, tables.length);
    values.set(name, value);
    if (constant) initializers.set(name, constant);
  });
  return { values, initializers };
}

function readTensor(
  table: Table<'Tensor'>,
  index: number,
  buffers: readonly ModelBuffer[],
  roles: TensorRoles,
  count: number,
): { value: SourceValue; constant: LazyTensor | null } {
  const fields = TABLES.Tensor;
  const name = valueName(index);
  const code = numberOf(table, fields.type);
  const element = elementType(code);
  if (element === undefined) {
    throw new CompileError(
      'E105',
      `tensor ${index} has element type ${code}, which schema version 3d does not define`,
      {
        at: { file: table.source.file, node: name, offset: table.at },
        hint: 'The file is damaged or newer than this program',
      },
    );
  }
  const dims = readDims(table);
  const variable = numberOf(table, fields.is_variable) !== 0;
  const constant = element === 'handle' ? null : readConstant(table, index, element, dims, buffers, roles, variable);
  const known =
    dims.length > 0 || numberOf(table, fields.has_rank) !== 0 || constant !== null || roles.inputs.has(index);
  const quant = readQuant(tableOf(table, fields.quantization), {
    source: table.source,
    shape: dims,
    tensorName: (i, at) => {
      if (i >= 0 && i < count) return valueName(i);
      throw malformed(table.source, at, `quantisation of tensor ${index} names tensor ${i} of ${count}`);
    },
  });
  const label = stringOf(table, fields.name);
  const value: SourceValue = {
    name,
    type: sourceType(element, known ? dims : null),
    ...(label ? { label } : {}),
    ...(quant ? { quant } : {}),
    ...(variable ? { variable } : {}),
  };
  return { value, constant };
}

function sourceType(element: ElementType | 'handle', dims: readonly SourceDim[] | null): SourceType {
  if (element === 'handle') return { kind: 'unknown' };
  return { kind: 'tensor', dtype: element.dtype, shape: element.complex && dims ? [...dims, 2] : dims };
}

/** `shape`, with null where `shape_signature` (or an old file's shape itself) says -1. */
function readDims(table: Table<'Tensor'>): (number | null)[] {
  const shape = numbersOf(table, TABLES.Tensor.shape);
  if (shape.length > MAX_RANK) throw malformed(table.source, table.at, `a tensor has rank ${shape.length}`);
  const signature = numbersOf(table, TABLES.Tensor.shape_signature);
  if (signature.length > 0 && signature.length !== shape.length) {
    throw malformed(table.source, table.at, `shape [${shape}] and shape signature [${signature}] differ in rank`);
  }
  const negative = shape.findIndex((d, i) => d < -1 || (signature[i] ?? 0) < -1);
  if (negative >= 0) throw malformed(table.source, table.at, `dimension ${negative} of shape [${shape}] is negative`);
  return shape.map((d, i) => (d === -1 || signature[i] === -1 ? null : d));
}

/** The tensor's constant, if its buffer has bytes or it can only ever be empty. */
function readConstant(
  table: Table<'Tensor'>,
  index: number,
  element: ElementType,
  dims: readonly (number | null)[],
  buffers: readonly ModelBuffer[],
  roles: TensorRoles,
  variable: boolean,
): LazyTensor | null {
  const fields = TABLES.Tensor;
  if (numberOf(table, fields.external_buffer) !== 0) {
    throw new CompileError('E105', `tensor ${index} keeps its data in another file`, {
      at: { file: table.source.file, node: valueName(index), offset: table.at },
      hint: 'Export the model with its weights inside',
    });
  }
  const bufferIndex = numberOf(table, fields.buffer);
  const buffer = buffers[bufferIndex];
  if (!buffer && bufferIndex !== 0) {
    throw malformed(table.source, table.at, `tensor ${index} names buffer ${bufferIndex} of ${buffers.length}`);
  }
  const span = buffer?.span ?? null;
  if (!buffer || !span || span.count === 0) {
    return roles.unwritten.has(index) && !variable ? impliedZeros(table, element, dims) : null;
  }
  if (dims.includes(null)) throw malformed(table.source, table.at, `constant tensor ${index} has an unknown dimension`);
  const shape = [...(dims as readonly number[]), ...(element.complex ? [2] : [])];
  const sparsity = tableOf(table, fields.sparsity);
  if (sparsity) return sparseConstant(buffer, span, element, shape, sparsity);
  return denseConstant(buffer, span, element, shape);
}

/** What an operator finds in a tensor nobody wrote: fresh memory, which we define to be zero; often it has no elements. */
function impliedZeros(
  table: Table<'Tensor'>,
  { dtype, complex }: ElementType,
  dims: readonly (number | null)[],
): LazyTensor | null {
  const shape = [...dims.map((d) => d ?? -1), ...(complex ? [2] : [])];
  const count = sizeOf(shape);
  if (dims.includes(null) || (dtype === 'string' && count > 0)) return null;
  spendElements(table.source, count, table.at);
  return { dtype, shape, read: () => ({ dtype, shape, data: dtype === 'string' ? [] : new STORAGE[dtype](count) }) };
}
