// What a plan is made with: the program, where its buffers are, and what has been made so far.

import type { BufferRef, Program } from '../../ir/program.js';
import { invariant } from '../../support/errors.js';
import { sizeOfDim } from '../entry-spec.js';
import type { ProfiledStep } from '../profile-points.js';
import type { PlacedBuffer } from './buffers.js';
import type { Piece } from './pieces.js';
import type { Placement } from './placement.js';
import type { GpuBufferPlan, GpuPipelinePlan, GpuSize } from './plan-types.js';
import type { Part } from './shader.js';
import type { TwinCall } from './twin.js';

export interface Planner {
  readonly program: Program;
  readonly placement: Placement;
  /** By the program's buffer id. */
  readonly places: ReadonlyMap<number, PlacedBuffer>;
  /** Of the program's own; pools follow. */
  readonly list: readonly GpuBufferPlan[];
  readonly pieces: Map<number, readonly Piece[]>;
  readonly pipelines: GpuPipelinePlan[];
  /** By code. */
  readonly known: Map<string, number>;
  /** By kernel, piece and pattern. */
  parts: Map<string, Part>;
  /** Bytes of each buffer for private scratch and gathered operands; all dispatches use the same ones. */
  readonly pools: Map<string, { readonly position: number; bytes: number }>;
  readonly calls: TwinCall[];
  /** What each step of the plan that computes something computes, in the order of planning. */
  readonly sources: (readonly ProfiledStep[])[];
  hosts: number;
}

export const placeOf = (p: Planner, id: number): PlacedBuffer => {
  const place = p.places.get(id);
  invariant(place, `no buffer ${id}`);
  return place;
};

/** A reference as a buffer of the plan and an element. */
export function elementOf(p: Planner, r: BufferRef): readonly [number, GpuSize] {
  const { position, start } = placeOf(p, r.buffer);
  return [position, addSizes(sizeOfDim(r.offset), start)];
}

export const addSizes = (a: GpuSize, b: number): GpuSize => (typeof a === 'number' ? a + b : b === 0 ? a : ['+', a, b]);
