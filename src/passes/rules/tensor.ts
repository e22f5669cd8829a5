// The algebra of views and whole tensors: one record a rule, named by its equation. `apply` gives what a node's output
// equals, or null; it may emit nodes to say so.

import { dimEq } from '../../ir/dim.js';
import type { Rewriter } from '../../ir/rewrite.js';
import { type Expr, substituteVars } from '../../ir/scalar.js';
import type { Node, NodeOf, TensorType, Value } from '../../ir/tensor.js';

export interface TensorRule {
  readonly name: string;
  readonly apply: (n: Node, w: Rewriter) => Value | null;
}

const sameShape = (a: TensorType, b: TensorType): boolean =>
  a.shape.length === b.shape.length && a.shape.every((d, k) => dimEq(d, b.shape[k] as typeof d));

const input = (n: Node): Value => n.inputs[0] as Value;
const output = (n: Node): Value => n.outputs[0] as Value;
const viewOf = (v: Value): NodeOf<'view'> | null => (v.node?.kind === 'view' ? v.node : null);

/** Position k is axis k; 0 will do where the axis has one element. */
const isIdentity = (map: readonly Expr[], type: TensorType): boolean =>
  map.every(
    (x, k) => (x.k === 'var' && x.name === `i${k}`) || (x.k === 'const' && x.value === 0 && type.shape[k] === 1),
  );

const reshaped = (n: Node, source: Value, w: Rewriter): Value =>
  w.emit({ kind: 'view', map: 'reshape' }, [source], [output(n).type], n.origin)[0] as Value;

export const TENSOR_RULES: readonly TensorRule[] = [
  {
    name: 'reshape(reshape(x)) → reshape(x)',
    apply(n, w) {
      const inner = n.kind === 'view' && n.map === 'reshape' ? viewOf(input(n)) : null;
      return inner?.map === 'reshape' ? reshaped(n, input(inner), w) : null;
    },
  },
  {
    name: 'reshape(x) → x to its own shape',
    apply: (n) =>
      n.kind === 'view' && n.map === 'reshape' && sameShape(input(n).type, output(n).type) ? input(n) : null,
  },
  {
    name: 'view(view(x)) → view(x)', // transpose of transpose, slice of transpose …
    apply(n, w) {
      if (n.kind !== 'view' || n.map === 'reshape') return null;
      const inner = viewOf(input(n));
      if (!inner || inner.map === 'reshape') return null;
      const env = new Map(n.map.map((x, k): [string, Expr] => [`i${k}`, x]));
      const map = inner.map.map((x) => substituteVars(x, env));
      return w.emit({ kind: 'view', map }, [input(inner)], [output(n).type], n.origin)[0] as Value;
    },
  },
  {
    name: 'view(x) → x where it moves nothing',
    apply: (n) =>
      n.kind === 'view' &&
      n.map !== 'reshape' &&
      sameShape(input(n).type, output(n).type) &&
      isIdentity(n.map, input(n).type)
        ? input(n)
        : null,
  },
  {
    name: 'concat(x) → x',
    apply: (n) => (n.kind === 'concat' && n.inputs.length === 1 ? input(n) : null),
  },
  {
    name: 'copy(x) → x',
    apply(n) {
      if (n.kind !== 'generic' || n.reducer !== null || n.post || n.binds.length > 0 || n.body.k !== 'load')
        return null;
      const { src, index, guard, pad } = n.body;
      const v = n.inputs[src] as Value;
      return !guard && !pad && sameShape(v.type, output(n).type) && isIdentity(index, v.type) ? v : null;
    },
  },
];
