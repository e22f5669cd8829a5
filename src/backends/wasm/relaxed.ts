// Whether an engine knows relaxed SIMD: a module with one such instruction is valid or not, as a whole.

/** A function of one `f32x4.relaxed_madd` behind an `unreachable`. */
export const RELAXED_PROBE: readonly number[] = [
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0], // header
  ...[1, 4, 1, 0x60, 0, 0], // one type: nothing to nothing
  ...[3, 2, 1, 0], // one function
  ...[10, 9, 1, 7, 0, 0x00, 0xfd, 0x85, 0x02, 0x1a, 0x0b], // its code
];

export const knowsRelaxed = (): boolean => WebAssembly.validate(Uint8Array.from(RELAXED_PROBE));
