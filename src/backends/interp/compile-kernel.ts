// A kernel as a JavaScript function over typed arrays and size values.

import type { Kernel } from '../../ir/kernel.js';
import type { TypedArray } from '../../support/tensor.js';
import { printKernel } from '../clike.js';
import { JS, MATH } from './lang.js';
import { NUMERICS } from './numerics.js';

export type KernelFunction = (...args: readonly (TypedArray | number)[]) => void;

/** The source of the function, and the names of numerics it calls. */
export function kernelSource(kernel: Kernel): { readonly source: string; readonly numerics: readonly string[] } {
  const numerics = new Set<string>();
  const { params, syms, lines } = printKernel(kernel, JS, (name) => void numerics.add(name));
  const args = [...params.map((p) => p.name), ...syms].join(', ');
  return { source: `(${args}) => {\n${lines.join('\n')}\n}`, numerics: [...numerics] };
}

/** Arguments of the function: the buffers in order, then the symbols. */
export function compileKernel(kernel: Kernel): KernelFunction {
  const { source, numerics } = kernelSource(kernel);
  const known = numerics.length ? `const { ${numerics.join(', ')} } = numerics;\n` : '';
  const make = new Function(
    'numerics',
    `'use strict';\nconst { ${MATH.split(' ').join(', ')} } = Math;\n${known}return ${source};`,
  );
  return make(NUMERICS) as KernelFunction;
}
