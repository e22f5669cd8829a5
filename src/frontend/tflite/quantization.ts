// Quantisation parameters as the file states them: scales and zero points per tensor, per slice along one axis, or by
// block with both in tensors of their own. Nothing is rescaled; lengths and axes are checked against the shape.

import type { SourceQuant } from '../source.js';
import { type FlatFile, isTable, malformed, numberOf, numbersOf, type Table, unionOf } from './flat.js';
import { TABLES } from './generated/schema.js';

/** What a tensor's parameters are checked against. */
export interface QuantContext {
  readonly source: FlatFile;
  readonly shape: readonly (number | null)[];
  readonly tensorName: (index: number, at: number) => string;
}

/** The parameters, or null where the tensor has none that define a scale. */
export function readQuant(table: Table<'QuantizationParameters'> | null, context: QuantContext): SourceQuant | null {
  if (!table) return null;
  const fields = TABLES.QuantizationParameters;
  const details = unionOf(table, fields.details);
  const axis = numberOf(table, fields.quantized_dimension);
  if (details && isTable(details, 'BlockwiseQuantization')) {
    return blockwise(details, TABLES.BlockwiseQuantization, axis, context);
  }
  if (details && isTable(details, 'MultiAxisQuantization')) return multiAxis(details, context);
  const scale = Float32Array.from(numbersOf(table, fields.scale));
  if (scale.length === 0) return null;
  const stored = numbersOf(table, fields.zero_point);
  if (stored.length > 1 && stored.length !== scale.length) {
    throw malformed(table.source, table.at, `${scale.length} scales have ${stored.length} zero points`);
  }
  const zeroPoint = Array.from(scale, (_, i) => (stored.length === 1 ? stored[0] : stored[i]) ?? 0);
  return { scale, zeroPoint, axis: scale.length === 1 ? 0 : sliceAxis(table, axis, scale.length, context.shape) };
}

/** The axis a vector of scales runs along. A vector's only axis is meant even where the file names another (old converters). */
function sliceAxis(table: Table, axis: number, scales: number, shape: QuantContext['shape']): number {
  const along = shape.length === 1 ? 0 : axis;
  const extent = shape[along];
  if (extent === undefined || (extent !== null && extent !== scales)) {
    throw malformed(table.source, table.at, `${scales} scales do not fit dimension ${axis} of shape [${shape}]`);
  }
  return along;
}

type BlockTable = 'BlockwiseQuantization' | 'MultiAxisQuantization';

function blockwise<N extends BlockTable>(
  table: Table<N>,
  fields: (typeof TABLES)[BlockTable],
  axis: number,
  { shape, tensorName }: QuantContext,
): SourceQuant {
  const size = numberOf(table, fields.block_size);
  const zeroPoints = numberOf(table, fields.zero_points);
  if (size < 0 || axis < 0 || (axis !== 0 && axis >= shape.length)) {
    throw malformed(table.source, table.at, `blocks of ${size} along dimension ${axis} do not fit shape [${shape}]`);
  }
  const block = {
    scales: tensorName(numberOf(table, fields.scales), table.at),
    zeroPoints: zeroPoints < 0 ? '' : tensorName(zeroPoints, table.at),
    size,
  };
  return { scale: new Float32Array(0), zeroPoint: [], axis, block };
}

/** Several axes are not expressible in SourceQuant; one axis is the blockwise case (block size 0: one scale a slice). */
function multiAxis(table: Table<'MultiAxisQuantization'>, context: QuantContext): SourceQuant {
  const fields = TABLES.MultiAxisQuantization;
  const axes = numbersOf(table, fields.quantized_dimensions);
  if (axes.length !== 1) {
    throw malformed(table.source, table.at, `quantisation along ${axes.length} axes at once is not supported`);
  }
  return blockwise(table, fields, axes[0]!, context);
}
