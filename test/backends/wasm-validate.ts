// An independent reader's opinion of a module: valid WebAssembly 1.0 with sign extension, saturating conversion and SIMD,
// and none of the later extensions.

import wabt from 'wabt';
import { emitWasm, type WasmOptions } from '../../src/backends/wasm/program.js';
import type { Program } from '../../src/ir/program.js';

const FEATURES = { simd: true, bulk_memory: false, reference_types: false, multi_value: false, exceptions: false };

const reader = wabt();

/** Throws where the program's module is not valid. */
export async function validate(program: Program, options: WasmOptions = {}): Promise<void> {
  const { module } = emitWasm(program, options);
  const parsed = (await reader).readWasm(module, { readDebugNames: true, ...FEATURES });
  parsed.validate();
  parsed.destroy();
}
