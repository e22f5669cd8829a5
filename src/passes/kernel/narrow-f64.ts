// Kernels for targets without f64: everything of that type is computed and held in f32. The one place where a target's
// numbers may differ from the model's types; what uses it says so in its report. Runs before macros are expanded, which
// look at the bits of what they are given.

import type { Kernel, Stmt } from '../../ir/kernel.js';
import { mapExprs, visitKernelExprs } from '../../ir/kernel-walk.js';
import { cast, constant, type Expr, rewriteExpr } from '../../ir/scalar.js';
import type { DType } from '../../support/dtype.js';
import { CompileError } from '../../support/errors.js';
import { mapBodies } from './stmt-walk.js';

/** Throws E301 where a kernel looks at the bits of an f64. */
export function narrowF64(kernel: Kernel): Kernel {
  if (!usesF64(kernel)) return kernel;
  const memo = new Map<Expr, Expr>();
  const body = mapExprs(kernel.body, (x) => rewriteExpr(x, narrowNode, memo));
  return {
    ...kernel,
    params: kernel.params.map((p) => ({ ...p, dtype: narrowType(p.dtype) })),
    body: narrowAllocs(body),
  };
}

const narrowType = (t: DType): DType => (t === 'f64' ? 'f32' : t);

function usesF64(kernel: Kernel): boolean {
  let found = kernel.params.some((p) => p.dtype === 'f64');
  visitKernelExprs(kernel.body, (x) => {
    found ||= x.dtype === 'f64';
    if (x.k === 'bitcast' && (x.dtype === 'f64' || x.arg.dtype === 'f64'))
      throw new CompileError(
        'E301',
        `"${kernel.name}" needs the bits of 64-bit floats, which this target does not have`,
      );
  });
  return found;
}

/** A node whose children are narrow already. */
function narrowNode(x: Expr): Expr {
  if (x.dtype !== 'f64') return x;
  if (x.k === 'const') return constant(Math.fround(Number(x.value)), 'f32');
  return x.k === 'cast' ? cast(x.arg, 'f32') : { ...x, dtype: 'f32' };
}

const narrowAllocs = (body: readonly Stmt[]): readonly Stmt[] =>
  body.map((s) => (s.s === 'alloc' ? { ...s, dtype: narrowType(s.dtype) } : mapBodies(s, narrowAllocs)));
