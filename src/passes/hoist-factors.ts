// Σ(s·a·b) → s·Σ(a·b): factors of a sum's term that the reduction does not walk are applied once, to the sum. Attention
// scales, dequantisation scales and averages are such factors. Changes rounding, so only under fast numerics.

import { mentions } from '../ir/affine.js';
import { e } from '../ir/expr.js';
import { rewriteModule } from '../ir/rewrite.js';
import { type Expr, substituteVars, variable, factorsOf } from '../ir/scalar.js';
import type { Module } from '../ir/tensor.js';
import type { PassContext } from './pass.js';

export function hoistFactors(m: Module, c: PassContext): Module {
  if (c.numerics !== 'fast') return m;
  return rewriteModule(m, {
    node(node, w) {
      if (node.kind !== 'generic' || node.reducer !== 'add' || node.body.dtype !== 'f32') return undefined;
      const axes = node.reduce.map((_, k) => `r${k}`);
      const factors = factorsOf(node.body);
      const [inside, outside] = [factors.filter((x) => walks(x, axes)), factors.filter((x) => !walks(x, axes))];
      if (inside.length === 0 || outside.length === 0) return undefined;
      const sum = [variable('acc', 'f32'), ...outside].reduce((p, q) => e.mul(p, q));
      const post = node.post ? substituteVars(node.post, new Map([['acc', sum]])) : sum;
      return w.emit(
        { ...node, body: inside.reduce((p, q) => e.mul(p, q)), post },
        node.inputs,
        node.outputs.map((o) => o.type),
        node.origin,
      );
    },
  });
}

const walks = (x: Expr, axes: readonly string[]): boolean => axes.some((name) => mentions(x, name));
