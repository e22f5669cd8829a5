// What placement reckons with, in nanoseconds: figures of an integrated graphics card and the processor beside it. They are
// orders of magnitude, and that is enough: what a GPU should not run is off by a factor of ten or more.

export const COSTS = {
  /** Encoding and starting a dispatch. */
  dispatch: 4_000,
  /** An operation of a single invocation: nothing hides how long arithmetic and memory take. */
  serialOperation: 25,
  /** An operation of many invocations, all lanes together. */
  parallelOperation: 0.005,
  /** An operation on the processor. */
  hostOperation: 0.5,
  /** A call of the twin. */
  call: 500,
  /** A wait for the device: submitting, mapping, waking up. Whatever is read then shares it. */
  wait: 200_000,
  readByte: 0.5,
  /** Writing a buffer, which nobody waits for. */
  upload: 5_000,
  uploadByte: 0.25,
} as const;

/** Rounds a `while` is taken to have, and iterations of a loop inside a kernel whose bounds say nothing. */
export const USUAL_ROUNDS = 16;

/** A single invocation with fewer operations is a trifle anywhere. */
export const TRIFLE = 200;

/** What may follow others to the twin, to spare crossings: so long on the processor at most. More is the GPU's business. */
export const SHORT = 1_000_000;

/** For 64-bit floats, which a GPU has not, the twin may take so long; beyond it they are held in f32, and reported. */
export const LONG_ENOUGH = 20_000_000;

/** A placement must save so much to be preferred to leaving everything on the device. */
export const WORTHWHILE = 1_000;
