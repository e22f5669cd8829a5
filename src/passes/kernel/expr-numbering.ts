// Numbers for expressions: equal numbers mean equal values at the point of asking. A load's number depends on the state
// of its buffer and a variable's on its last assignment, which `touch…` advance. Linear in the size of shared graphs.

import { dimKey } from '../../ir/dim.js';
import { children, type Expr } from '../../ir/scalar.js';

export interface Numbering {
  readonly of: (e: Expr) => number;
  readonly touchBuffer: (slot: number) => void;
  readonly touchVar: (name: string) => void;
  readonly touchAllBuffers: () => void;
}

export function createNumbering(): Numbering {
  const ids = new Map<string, number>();
  const buffers = new Map<number, number>();
  const vars = new Map<string, number>();
  let memo = new Map<Expr, number>();
  let clock = 0;
  let allBuffers = 0;

  const of = (e: Expr): number => {
    const known = memo.get(e);
    if (known !== undefined) return known;
    const key = `${head(e)}:${e.dtype}x${e.lanes}(${children(e).map(of).join()})`;
    const id = ids.get(key) ?? ids.size;
    ids.set(key, id);
    memo.set(e, id);
    return id;
  };

  const head = (e: Expr): string => {
    switch (e.k) {
      case 'const':
        return `c${Object.is(e.value, -0) ? '-0' : e.value}`;
      case 'var':
        return `v${e.name}@${vars.get(e.name) ?? 0}`;
      case 'dim':
        return `d${dimKey(e.dim)}`;
      case 'load':
        return `l${e.src}@${Math.max(buffers.get(e.src) ?? 0, allBuffers)}${e.guard ? '?' : ''}${e.pad ? '|' : ''}`;
      case 'op':
        return e.op;
      case 'vec':
        return `${e.op}${e.lane}`;
      default:
        return e.k;
    }
  };

  const advance = (): number => {
    memo = new Map();
    return ++clock;
  };

  return {
    of,
    touchBuffer: (slot) => void buffers.set(slot, advance()),
    touchVar: (name) => void vars.set(name, advance()),
    touchAllBuffers: () => {
      allBuffers = advance();
    },
  };
}
