// What a sum of products gets per channel.

import type { Builder } from '../../ir/builder.js';
import { e } from '../../ir/expr.js';
import type { Value } from '../../ir/tensor.js';
import type { Layout } from './window.js';

/** Adds one value per channel, in the sum's own type. */
export const addBias = (b: Builder, y: Value, bias: Value | undefined, layout: Layout): Value =>
  bias
    ? b.generic({
        shape: y.type.shape,
        body: (i, _r, read) => e.add(read(y, i), e.cast(read(bias, [layout.parts(i).channel]), y.type.dtype)),
      })
    : y;
