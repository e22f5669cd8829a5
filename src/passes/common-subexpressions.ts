// Nodes that compute the same from the same operands become one, within a region and from the regions around it.
// Nodes with effects, binds or nested regions stay as they are.

import { dimKey } from '../ir/dim.js';
import { rewriteRegion, type Rewriter } from '../ir/rewrite.js';
import { exprKey } from '../ir/scalar.js';
import type { ConstData, Module, Node, Value } from '../ir/tensor.js';
import { sizeOf } from '../support/tensor.js';

export function commonSubexpressions(m: Module): Module {
  const constants = new Map<ConstData, string>();
  const entries = m.entries.map((entry) => {
    /** One table a nesting level; inner levels see outer ones. The rewriter works depth first, node by node. */
    const known = new Map<string, { value: readonly Value[]; region: Rewriter }>();
    const body = rewriteRegion(
      entry.body,
      {
        node(node, w) {
          const key = nodeKey(node, constants);
          if (key === null) return undefined;
          const old = known.get(key);
          if (old && old.region === w) return old.value;
          known.set(key, { value: node.outputs, region: w });
          return undefined;
        },
      },
      new Map(),
      0,
    );
    return { ...entry, body };
  });
  return { ...m, entries };
}

function nodeKey(n: Node, constants: Map<ConstData, string>): string | null {
  if (n.binds.length > 0) return null;
  const inputs = n.inputs.map((v) => v.id).join();
  const dims = (list: Node['outputs']): string => list.map((v) => v.type.shape.map(dimKey).join('x')).join(';');
  switch (n.kind) {
    case 'const':
      return constantKey(n.data, constants);
    case 'generic':
      return `generic ${n.shape.map(dimKey)}|${n.reduce.map(dimKey)}|${n.reducer}|${exprKey(n.body)}|${n.post ? exprKey(n.post) : ''}|${inputs}`;
    case 'view':
      return `view ${n.map === 'reshape' ? n.map : n.map.map(exprKey).join()}|${dims(n.outputs)}|${inputs}`;
    case 'concat':
      return `concat ${n.axis}|${inputs}`;
    case 'dim':
      return `dim ${n.dims.map(dimKey)}|${dims(n.outputs)}`;
    default:
      return null;
  }
}

/** Small constants by contents, large ones by identity. */
function constantKey(data: ConstData, seen: Map<ConstData, string>): string {
  const known = seen.get(data);
  if (known) return known;
  const small = data.dtype !== 'string' && sizeOf(data.shape) <= 64;
  const key = `const ${data.dtype} ${data.shape} ${small ? Array.from(data.read().data as ArrayLike<number | bigint>, (x) => (Object.is(x, -0) ? '-0' : String(x))) : `#${seen.size}`}`;
  seen.set(data, key);
  return key;
}
