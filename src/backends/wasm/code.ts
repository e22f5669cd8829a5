// The body of one function while it is written: instructions, labels counted by depth, locals reused by type.
// A local handed back with `free` may be given out again; a fresh one must therefore be set before it is read.

import { invariant } from '../../support/errors.js';
import { ByteWriter, type FunctionBody, type FunctionType, VALUE_TYPES, type ValueType } from './encoder.js';
import { ENCODED, type Instruction, PLAIN } from './opcodes.js';

export interface Local {
  readonly index: number;
  readonly type: ValueType;
}

/** Integers of up to four bytes as signed LEB128. */
const SHORT = 1 << 27;

export class CodeWriter {
  readonly out = new ByteWriter(512);
  /** Open blocks, loops and ifs. */
  depth = 0;
  private readonly declared: ValueType[] = [];
  private readonly pool: Local[] = [];
  /** Never set. */
  private zeros: Local | null = null;

  constructor(
    readonly name: string,
    private readonly type: FunctionType,
  ) {}

  param(index: number): Local {
    const type = this.type.params[index];
    invariant(type !== undefined, `function ${this.name} has no parameter ${index}`);
    return { index, type };
  }

  /** `fresh`: one that nothing has been in. */
  local(type: ValueType, fresh = false): Local {
    const at = fresh ? -1 : this.pool.findIndex((l) => l.type === type);
    if (at >= 0) return this.pool.splice(at, 1)[0] as Local;
    this.declared.push(type);
    return { index: this.type.params.length + this.declared.length - 1, type };
  }

  free(...locals: readonly Local[]): void {
    this.pool.push(...locals);
  }

  op(...names: readonly Instruction[]): void {
    for (const name of names) {
      const bytes = ENCODED.get(name);
      invariant(bytes !== undefined, `no instruction ${name}`);
      for (const b of bytes) this.out.u8(b);
    }
  }

  get(l: Local): void {
    this.out.u8(PLAIN['local.get']);
    this.out.u32(l.index);
  }

  set(l: Local): void {
    this.out.u8(PLAIN['local.set']);
    this.out.u32(l.index);
  }

  tee(l: Local): void {
    this.out.u8(PLAIN['local.tee']);
    this.out.u32(l.index);
  }

  i32(value: number): void {
    this.out.u8(PLAIN['i32.const']);
    this.out.s32(value);
  }

  i64(value: bigint): void {
    this.out.u8(PLAIN['i64.const']);
    this.out.s64(value);
  }

  f32(value: number): void {
    this.out.u8(PLAIN['f32.const']);
    this.out.f32(value);
  }

  f64(value: number): void {
    this.out.u8(PLAIN['f64.const']);
    this.out.f64(value);
  }

  /** Zeros are a local nobody sets, equal lanes a splat: 2 and some 7 bytes in place of 18, for the same machine code. */
  v128(bytes: Uint8Array): void {
    const lane = bytes.subarray(0, 4);
    const value = new DataView(lane.buffer, lane.byteOffset).getInt32(0, true);
    if (!bytes.every((b, i) => b === lane[i % 4])) {
      this.op('v128.const');
      this.out.raw(bytes);
    } else if (value === 0) {
      this.zeros ??= this.local('v128', true);
      this.get(this.zeros);
    } else if (value >= -SHORT && value < SHORT) {
      this.i32(value);
      this.op('i32x4.splat');
    } else {
      this.out.u8(PLAIN['f32.const']);
      this.out.raw(lane);
      this.op('f32x4.splat');
    }
  }

  /** result byte i = byte lanes[i] of the two operands, 0…31. */
  shuffle(lanes: readonly number[]): void {
    this.op('i8x16.shuffle');
    this.out.raw(lanes);
  }

  /** A load or store. `alignment` is the exponent the address is known to have. */
  memory(name: Instruction, offset: number, alignment = 0): void {
    this.op(name);
    this.out.u8(alignment);
    this.out.u32(offset);
  }

  call(index: number): void {
    this.out.u8(PLAIN.call);
    this.out.u32(index);
  }

  /** Opens a block, loop or if; the returned number names it for `branch`. */
  open(kind: 'block' | 'loop' | 'if', result?: ValueType): number {
    this.out.u8(PLAIN[kind]);
    this.out.u8(result === undefined ? 0x40 : VALUE_TYPES[result]);
    return this.depth++;
  }

  else(): void {
    this.out.u8(PLAIN.else);
  }

  close(): void {
    this.out.u8(PLAIN.end);
    this.depth--;
  }

  /** Leaves by the label that the number on the stack selects, by the last one where there are fewer. */
  branchTable(labels: readonly number[]): void {
    this.out.u8(PLAIN.br_table);
    this.out.u32(labels.length - 1);
    for (const label of labels) this.out.u32(this.depth - 1 - label);
  }

  branch(label: number, conditional: boolean): void {
    this.out.u8(conditional ? PLAIN.br_if : PLAIN.br);
    this.out.u32(this.depth - 1 - label);
  }

  finish(): FunctionBody {
    invariant(this.depth === 0, `function ${this.name} leaves a block open`);
    return { name: this.name, type: this.type, locals: this.declared, code: this.out.written() };
  }
}
