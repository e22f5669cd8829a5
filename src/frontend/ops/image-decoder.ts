// Pictures from files in memory. Decoding is no loop over numbers of known sizes, so a host does it; the sizes come with the
// pixels and define symbols, whose bounds the file declares or are assumed.

import { symDim } from '../../ir/dim.js';
import type { Builder } from '../../ir/builder.js';
import type { HostCall } from '../../ir/program.js';
import type { Value } from '../../ir/tensor.js';
import { decodePicture } from '../../support/image/decode.js';
import { greyOf, type Picture, PictureError } from '../../support/image/picture.js';
import { CompileError } from '../../support/errors.js';
import type { Tensor } from '../../support/tensor.js';
import { assumedBound } from '../assumed-sizes.js';
import { type AnyRecord, op } from './record.js';

/** For each channel given out, the channel of the picture; grey is made of all. */
const ORDERS: Readonly<Record<string, readonly (0 | 1 | 2 | 'grey')[]>> = {
  RGB: [0, 1, 2],
  BGR: [2, 1, 0],
  Grayscale: ['grey'],
};

type Order = (typeof ORDERS)[string];

function arrange({ width, height, channels, data }: Picture, order: Order): Uint8Array {
  const out = new Uint8Array(width * height * order.length);
  for (let k = 0; k < width * height; k++) {
    const at = (c: number): number => data[k * channels + (channels === 1 ? 0 : c)] as number;
    order.forEach((c, j) => {
      out[k * order.length + j] = c !== 'grey' ? at(c) : channels === 1 ? at(0) : greyOf(at(0), at(1), at(2));
    });
  }
  return out;
}

function read(bytes: Uint8Array): Picture {
  try {
    return decodePicture(bytes);
  } catch (error) {
    if (error instanceof PictureError)
      throw new CompileError('E402', `the picture cannot be decoded: ${error.message}`);
    throw error;
  }
}

const count = (n: number): Tensor => ({ dtype: 'i64', shape: [], data: BigInt64Array.of(BigInt(n)) });

function decode(b: Builder, x: Value, order: Order): Value {
  const [height, width] = ['height', 'width'].map((name) => b.checkedSym(name, assumedBound(2)));
  if (!height || !width) throw new Error('two sizes were made');
  const call: HostCall = ([file]) => {
    const picture = read(file?.data as Uint8Array);
    const shape = [picture.height, picture.width, order.length];
    // Sizes that are too large are refused where they become symbols, before anybody reads the pixels.
    const fits = picture.height <= height.hi && picture.width <= width.hi;
    const data = fits ? arrange(picture, order) : new Uint8Array(0);
    return [{ dtype: 'u8', shape, data }, count(picture.height), count(picture.width)];
  };
  const [pixels] = b.node(
    { kind: 'call', callee: 'image_decoder', host: call },
    [x],
    [
      { dtype: 'u8', shape: [symDim(height), symDim(width), order.length] },
      { dtype: 'i64', shape: [] },
      { dtype: 'i64', shape: [] },
    ],
    [
      { output: 1, sym: height },
      { output: 2, sym: width },
    ],
  );
  return pixels as Value;
}

export const records: readonly AnyRecord[] = [
  op<'x', { readonly order: Order | undefined; readonly name: string }>('image_decoder', {
    doc: 'The pixels of a picture file: JPEG, PNG, BMP, TIFF or PNM.',
    inputs: ['x'],
    onnx: {
      'ImageDecoder@20': (n) => {
        const name = n.string('pixel_format', 'RGB');
        return { name, order: ORDERS[name] };
      },
    },
    lower: ({ x }, { order, name }, b, ctx) =>
      decode(b, x, order ?? ctx.limit(`pixel format "${name}" is not defined`)),
    limits: ['JPEG 2000 and WebP are not read. Transparency is left out.'],
  }),
];
