// Texts that use each other by `@name`, gathered from those first used.

import { invariant } from '../../support/errors.js';

/** The texts of `used` and of all they need, in order of name, each once. */
export function collectTexts(used: Iterable<string>, lookup: (name: string) => string | undefined): readonly string[] {
  const done = new Map<string, string>();
  const add = (name: string): void => {
    if (done.has(name)) return;
    const text = lookup(name);
    invariant(text !== undefined, `no WGSL helper ${name}`);
    done.set(name, text.replace(/@(\w+)/g, '$1'));
    for (const m of text.matchAll(/@(\w+)/g)) add(m[1] as string);
  };
  for (const name of used) add(name);
  return [...done].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, text]) => text);
}
