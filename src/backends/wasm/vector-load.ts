// Loads of vectors: consecutive elements in one instruction, widened where the buffer is narrower; a vector of
// indices (gather) or of guards (masked) goes lane by lane, as SIMD128 has neither.

import { type Expr, type LoadExpr, variable } from '../../ir/scalar.js';
import { invariant } from '../../support/errors.js';
import { loadScalar, loadVector, writeAddress } from './access.js';
import { type ComputeType, isComputeType } from './cells.js';
import type { Local } from './code.js';
import { type KernelState, slotOf } from './kernel-state.js';
import { indexOfLane, laneOf, laneShape } from './lanes.js';

type WriteAs = (e: Expr, lanes: number) => void;

export function writeVectorLoad(k: KernelState, e: LoadExpr, write: WriteAs): void {
  const slot = slotOf(k, e.src);
  const index = e.index[0] as Expr;
  invariant(slot.kind === 'memory', `kernel ${k.c.name} gathers from a register buffer`);
  const masked = e.guard !== undefined && e.guard.lanes > 1;
  if (index.lanes > 1 || masked) return writeByLane(k, e, index, write);
  const offset = writeAddress(k, e.src, slot, index, (x) => write(x, x.lanes));
  loadVector(k, slot, e.dtype, e.lanes, offset);
}

/** Lanes whose type is narrower than a WebAssembly scalar travel as i32. */
const laneType = (e: LoadExpr): ComputeType => (isComputeType(e.dtype) ? e.dtype : 'i32');

/** Puts the value of `e` in a local and names it, so that each lane can refer to it. */
function keep(k: KernelState, e: Expr, write: WriteAs): { local: Local; value: Expr } {
  const local = k.c.local(e.lanes > 1 ? 'v128' : 'i32');
  const name = `#${local.index}`;
  write(e, e.lanes);
  k.c.set(local);
  k.vars.set(name, { local, lanes: e.lanes });
  return { local, value: variable(name, e.dtype, e.lanes) };
}

/** Starts from the pad and fills in the lanes whose guard holds. */
function writeByLane(k: KernelState, e: LoadExpr, index: Expr, write: WriteAs): void {
  const c = k.c;
  const at = keep(k, index, write);
  const guard = e.guard ? keep(k, e.guard, write) : null;
  const result = c.local('v128');
  if (e.pad) write(e.pad, e.lanes);
  else c.v128(new Uint8Array(16));
  c.set(result);
  for (let lane = 0; lane < e.lanes; lane++) {
    if (guard) {
      write(laneOf(guard.value, lane), 1);
      c.open('if');
    }
    c.get(result);
    loadLane(k, e, index.lanes > 1 ? laneOf(at.value, lane) : indexOfLane(at.value, lane), write);
    c.op(`${laneShape(e.dtype, e.lanes)}.replace_lane`);
    c.out.u8(lane);
    c.set(result);
    if (guard) c.close();
  }
  c.get(result);
  c.free(at.local, result, ...(guard ? [guard.local] : []));
}

function loadLane(k: KernelState, e: LoadExpr, index: Expr, write: WriteAs): void {
  const slot = slotOf(k, e.src);
  invariant(slot.kind === 'memory', `kernel ${k.c.name} gathers from a register buffer`);
  const offset = writeAddress(k, e.src, slot, index, (x) => write(x, x.lanes));
  loadScalar(k, slot, laneType(e), offset);
}
