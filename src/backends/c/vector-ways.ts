// Several ways to one operation on vectors: builtins where the compiler's flags say that a processor has the instruction,
// else what all compilers have.

/** Statements where the preprocessor finds that `test` holds. */
export interface Way {
  readonly test: string;
  readonly text: readonly string[];
}

/** By lanes: the test and a call of the builtin. */
export type Builtins = Readonly<Record<number, readonly [test: string, call: string]>>;

export const NOT_CLANG = '!defined(__clang__)';

/** Of builtins that clang lacks. */
export const gccWith = (macro: string): string => `defined(${macro}) && ${NOT_CLANG}`;

/** The first way whose test holds, else `otherwise`. */
export function choose(ways: readonly Way[], otherwise: readonly string[]): string {
  const indent = (lines: readonly string[]): string => lines.map((l) => `  ${l}`).join('\n');
  if (ways.length === 0) return indent(otherwise);
  const cases = ways.map(({ test, text }, k) => `#${k === 0 ? 'if' : 'elif'} ${test}\n${indent(text)}`);
  return [...cases, '#else', indent(otherwise), '#endif'].join('\n');
}

/** With the builtin for so many lanes, where there is one. */
export function withBuiltin(
  builtins: Builtins,
  lanes: number,
  statements: (call: string) => readonly string[],
  otherwise: readonly string[],
): string {
  const found = builtins[lanes];
  return choose(found ? [{ test: found[0], text: statements(found[1]) }] : [], otherwise);
}
