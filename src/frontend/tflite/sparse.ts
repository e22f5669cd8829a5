// Sparse constants, densified: values stand in the file in traversal order over dense and compressed (CSR) dimensions,
// possibly within blocks. Segments must not overlap and dense sizes must multiply to the shape, so that the walk visits
// each stored value once; what the dense tensors of a file may take together is bounded by the file's size.

import { sizeOf, STORAGE, type Tensor } from '../../support/tensor.js';
import type { LazyTensor } from '../source.js';
import { elements, type ModelBuffer } from './constants.js';
import type { ElementType } from './element-types.js';
import { malformed, numberOf, numbersOf, type Span, spendElements, type Table, tablesOf, unionOf } from './flat.js';
import { TABLES } from './generated/schema.js';

interface Level {
  /** Which dimension of the dense tensor (or of the block) this level walks, and by what its position counts. */
  readonly dim: number;
  readonly stride: number;
  /** DENSE: positions; SPARSE_CSR: null. */
  readonly size: number | null;
  readonly segments: readonly number[];
  readonly indices: readonly number[];
}

/** A sparse constant of the given dense shape; its layout is checked now, its values are read on demand. */
export function sparseConstant(
  buffer: ModelBuffer,
  span: Span,
  type: ElementType,
  shape: readonly number[],
  sparsity: Table<'SparsityParameters'>,
): LazyTensor {
  const { source } = sparsity;
  if (type.dtype === 'string' || type.complex)
    throw malformed(source, sparsity.at, `${type.name} tensors cannot be sparse`);
  const levels = readLevels(sparsity, shape);
  spendElements(source, sizeOf(shape), sparsity.at);
  let dense: Tensor | null = null;
  const read = (): Tensor => {
    dense ??= densify(buffer, span, type, shape, sparsity, levels);
    return dense;
  };
  return { dtype: type.dtype, shape, read };
}

function readLevels(sparsity: Table<'SparsityParameters'>, shape: readonly number[]): Level[] {
  const fields = TABLES.SparsityParameters;
  const bad = (what: string) => malformed(sparsity.source, sparsity.at, `sparsity: ${what}`);
  const order = numbersOf(sparsity, fields.traversal_order);
  const blockMap = numbersOf(sparsity, fields.block_map);
  const metadata = tablesOf(sparsity, fields.dim_metadata);
  const rank = shape.length;
  if (order.length !== rank + blockMap.length) throw bad(`${order.length} traversed dimensions for rank ${rank}`);
  if (metadata.length !== order.length)
    throw bad(`${metadata.length} dimension records for ${order.length} dimensions`);
  if (new Set(order).size !== order.length || order.some((d) => d < 0 || d >= order.length)) {
    throw bad('the traversal order is not a permutation');
  }
  if (new Set(blockMap).size !== blockMap.length || blockMap.some((d) => d < 0 || d >= rank)) {
    throw bad('the block map names a dimension twice or one that is not there');
  }
  const raw = order.map((dim, i) => readLevel(metadata[i]!, dim));
  const blockSize = (dim: number) => {
    const level = raw.find((l) => l.dim === rank + blockMap.indexOf(dim));
    return blockMap.includes(dim) ? (level?.size ?? 0) : 1;
  };
  return raw.map((level) => {
    const dim = level.dim < rank ? level.dim : blockMap[level.dim - rank]!;
    const block = blockSize(dim);
    const extent = level.dim < rank ? shape[dim]! / block : block;
    if (!Number.isInteger(extent) || block === 0) throw bad(`dimension ${dim} is not a whole number of blocks`);
    if (level.size !== null && level.size !== extent)
      throw bad(`dimension ${dim} has ${extent} steps, not ${level.size}`);
    if (level.indices.some((i) => i < 0 || i >= extent)) throw bad(`an index of dimension ${dim} is out of range`);
    return { ...level, dim, stride: level.dim < rank ? block : 1 };
  });
}

function readLevel(metadata: Table<'DimensionMetadata'>, dim: number): Level {
  const fields = TABLES.DimensionMetadata;
  const format = numberOf(metadata, fields.format);
  if (format === 0) return { dim, stride: 1, size: numberOf(metadata, fields.dense_size), segments: [], indices: [] };
  const segments = indexVector(unionOf(metadata, fields.array_segments));
  const indices = indexVector(unionOf(metadata, fields.array_indices));
  const rising = segments.every((s, i) => s >= (segments[i - 1] ?? 0));
  if (format !== 1 || !rising || (segments.at(-1) ?? 0) > indices.length) {
    throw malformed(
      metadata.source,
      metadata.at,
      'sparsity: the segments of a compressed dimension do not rise within its indices',
    );
  }
  return { dim, stride: 1, size: null, segments, indices };
}

function indexVector(table: Table | null): number[] {
  if (!table) return [];
  const { values } = TABLES[table.name as 'Int32Vector' | 'Uint16Vector' | 'Uint8Vector'];
  return numbersOf(table, values);
}

function densify(
  buffer: ModelBuffer,
  span: Span,
  type: ElementType,
  shape: readonly number[],
  sparsity: Table,
  levels: readonly Level[],
): Tensor {
  const bad = (what: string) => malformed(sparsity.source, sparsity.at, `sparsity: ${what}`);
  const values = elements(buffer, span, type);
  const data = new STORAGE[type.dtype as Exclude<ElementType['dtype'], 'string'>](sizeOf(shape));
  const strides = shape.map((_, d) => sizeOf(shape.slice(d + 1)));
  const walk = (depth: number, position: number, offset: number): void => {
    const level = levels[depth];
    if (!level) {
      if (position >= values.length) throw bad(`value ${position} of ${values.length} is wanted`);
      data[offset] = values[position] as never;
      return;
    }
    const step = strides[level.dim]! * level.stride;
    if (level.size !== null) {
      for (let i = 0; i < level.size; i++) walk(depth + 1, position * level.size + i, offset + i * step);
      return;
    }
    const end = level.segments[position + 1];
    if (end === undefined) throw bad(`segment ${position} of dimension ${level.dim} is missing`);
    for (let j = level.segments[position]!; j < end; j++) walk(depth + 1, j, offset + level.indices[j]! * step);
  };
  if (data.length > 0) walk(0, 0, 0);
  return { dtype: type.dtype, shape, data };
}
