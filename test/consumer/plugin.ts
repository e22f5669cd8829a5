// Writes operator records with types.

import { buildKernel, e, op } from 'heddle';

export const records = [
  op<'x' | 'bias?', { max: number }>('clipped', {
    doc: 'min(x + bias, max)',
    inputs: ['x', 'bias?'],
    onnx: { 'my.ops:Clipped@1': (n) => ({ max: n.float('max', 1) }) },
    lower: ({ x, bias }, { max }, b) => b.map([bias ? b.add(x, bias) : x], (p) => e.min(p, max)),
  }),

  op<'x', object>('reversed', {
    doc: 'x from its end',
    inputs: ['x'],
    onnx: { 'my.ops:Reversed@1': () => ({}) },
    lower({ x }, _, b) {
      const n = x.type.shape[0] ?? 1;
      return buildKernel(b, 'reversed', [x], (k) => {
        const [from] = k.inputs;
        const to = k.output(x.type.dtype, [n]);
        if (from) k.forEach([n], ([i]) => i && k.store(to, [e.sub(e.dim(n), e.add(i, 1))], k.load(from, [i])));
      });
    },
  }),
];
