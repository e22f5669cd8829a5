// Processors in the C compiler's words: the flags a project is built with, and copies of each kernel for several processors
// that the program chooses from when it starts (gcc's target_clones).

/** By the names `--cpu` takes. `generic` is built for whatever machine builds it. */
export const MACHINE_FLAGS: Readonly<Record<string, readonly string[]>> = {
  generic: ['-march=native'],
  native: ['-march=native'],
  sse2: ['-msse2'],
  avx2: ['-mavx2', '-mfma'],
  avx512: ['-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl', '-mfma'],
  avx512vnni: ['-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl', '-mavx512vnni', '-mfma'],
  neon: [],
};

/** With clones the rest is built for every machine of the architecture; no vector crosses a call, so how is no matter. */
export const flagsFor = (cpu: string, clones: boolean): readonly string[] =>
  clones ? ['-Wno-psabi'] : (MACHINE_FLAGS[cpu] ?? []);

/** Nothing where the compiler cannot do it: one copy then, for the machine the flags name. */
export const CLONES = `#if @GNU_C && !defined(__clang__) && __GNUC__ >= 12 && defined(__x86_64__) && defined(__gnu_linux__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif`;
