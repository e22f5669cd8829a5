// A text equal for kernels that compute the same: call sites with equal keys share one function.

import { dimKey } from './dim.js';
import type { Kernel, Stmt } from './kernel.js';
import { stmtBodies, stmtExprs } from './kernel-walk.js';
import { exprKey } from './scalar.js';

function stmtKey(s: Stmt): string {
  const own = stmtExprs(s).map(exprKey).join(';');
  const bodies = stmtBodies(s).map((b) => `{${b.map(stmtKey).join('')}}`);
  const head = (): string => {
    switch (s.s) {
      case 'for':
        return `for ${s.var} ${s.mode}/${s.step}`;
      case 'let':
        return `let ${s.var}${s.mutable ? '!' : ''}`;
      case 'set':
        return `set ${s.var}`;
      case 'store':
        return `store ${s.buf}`;
      case 'atomic':
        return `atomic ${s.op} ${s.buf}`;
      case 'alloc':
        return `alloc ${s.buf} ${s.dtype} ${s.size} ${s.space}`;
      case 'intrin':
        return `intrin ${s.name}`;
      default:
        return s.s;
    }
  };
  return `${head()}(${own})${bodies.join('')}\n`;
}

export const kernelKey = (k: Kernel): string =>
  `${k.params.map((p) => `${p.dtype} ${p.access}${p.access === 'scratch' ? dimKey(p.size) : ''}`).join()}|${k.syms.map((s) => s.name)}|${k.body.map(stmtKey).join('')}`;
