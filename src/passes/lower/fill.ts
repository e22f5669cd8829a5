// Constants that a schedule wants laid out its own way: the kernel that makes one becomes a program without inputs and
// runs in the interpreter, when the constant is first read.

import { kernelKey } from '../../ir/kernel-key.js';
import type { BufferParam } from '../../ir/kernel.js';
import type { Program, ProgramBuffer } from '../../ir/program.js';
import type { ConstData } from '../../ir/tensor.js';
import { invariant } from '../../support/errors.js';
import { sizeOf, type Tensor } from '../../support/tensor.js';
import type { Operand } from '../schedule/operands.js';

export type Evaluate = (p: Program) => readonly Tensor[];

type Filled = Extract<Operand, { kind: 'filled' }>;

/** A constant buffer, numbered so that equal numbers are the same buffer. */
export interface ConstSource {
  readonly id: number;
  readonly name: string;
  readonly data: ConstData;
}

/** Equal for operands with equal contents. */
export const fillKey = (o: Filled, sources: readonly ConstSource[]): string =>
  `${sources.map((s) => s.id).join()}|${kernelKey(o.kernel)}`;

/** The constant that the operand's kernel makes of what it reads. */
export function fillConstant(o: Filled, sources: readonly ConstSource[], evaluate: Evaluate): ConstData {
  const result = resultOf(o);
  invariant(typeof result.size === 'number', 'a filled constant has a known size');
  let made: Tensor | undefined;
  const read = (): Tensor => {
    made ??= evaluate(programOf(o, sources, result.size as number))[0];
    invariant(made, 'a filled constant is the result of its program');
    return made;
  };
  return { dtype: result.dtype, shape: [result.size], read };
}

function resultOf(o: Filled): BufferParam {
  const result = o.kernel.params[o.kernel.params.length - 1];
  invariant(result, 'a kernel that fills has a result');
  return result;
}

function programOf(o: Filled, sources: readonly ConstSource[], elements: number): Program {
  const given = sources.map((s, id): ProgramBuffer => {
    const data = s.data.read();
    return {
      id,
      name: s.name,
      dtype: data.dtype,
      elements: sizeOf(data.shape),
      place: { kind: 'const', offset: 0, data },
    };
  });
  const { name, dtype } = resultOf(o);
  const id = given.length;
  const output: ProgramBuffer = { id, name, dtype, elements, place: { kind: 'output', entry: 0, index: 0 } };
  const buffers = [...given, output];
  const refs = buffers.map((b) => ({ buffer: b.id, offset: 0 }));
  const step = { kind: 'kernel', kernel: 0, buffers: refs, dims: [], origins: [] } as const;
  const outputs = [{ name, dtype, shape: [elements], buffer: id }];
  return {
    name: o.kernel.name,
    kernels: [o.kernel],
    buffers,
    entries: [{ name: 'fill', inputs: [], outputs, steps: [step] }],
    arenaBytes: 0,
    stateBytes: 0,
    weightBytes: 0,
    peak: { bytes: 0, origin: null },
    numerics: 'strict',
  };
}
