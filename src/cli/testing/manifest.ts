// A suite's `manifest.json`, where it has one: an object `tests` by each case's path below it. A case it flags as not
// comparable is left out of the counts, with the reason; `exclude` may state any other reason in words.

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { CompileError } from '../../support/errors.js';

/** Flags a manifest may set on a case, and why such a case tells nothing. */
const FLAGS: Readonly<Record<string, string>> = {
  numpy_rng: "compares with the numbers of NumPy's random generator",
};

/** A suite is at most this many folders above its cases. */
const LEVELS = 3;

type Entry = Readonly<Record<string, unknown>>;

/** Says why the case in a folder is excluded, or nothing. Remembers the manifests it has read. */
export function exclusions(): (dir: string) => string | undefined {
  const manifests = new Map<string, Readonly<Record<string, Entry>> | null>();
  const manifestIn = (dir: string): Readonly<Record<string, Entry>> | null => {
    const known = manifests.get(dir);
    if (known !== undefined) return known;
    const file = join(dir, 'manifest.json');
    const tests = existsSync(file) ? testsOf(file) : null;
    manifests.set(dir, tests);
    return tests;
  };
  return (dir) => {
    const full = resolve(dir);
    let at = full;
    for (let k = 0; k < LEVELS && dirname(at) !== at; k++) {
      at = dirname(at);
      const entry =
        manifestIn(at)?.[
          relative(at, full)
            .split(sep)
            .join('/')
            .replace(/\.onnx$/, '')
        ];
      if (entry) return reasonIn(entry);
    }
    return undefined;
  };
}

function reasonIn(entry: Entry): string | undefined {
  if (typeof entry.exclude === 'string') return entry.exclude;
  const flag = Object.keys(FLAGS).find((name) => entry[name] === true);
  return flag === undefined ? undefined : FLAGS[flag];
}

function testsOf(file: string): Readonly<Record<string, Entry>> | null {
  try {
    const { tests } = JSON.parse(readFileSync(file, 'utf8')) as { readonly tests?: unknown };
    return typeof tests === 'object' && tests !== null ? (tests as Readonly<Record<string, Entry>>) : null;
  } catch (cause) {
    throw new CompileError('E403', `not JSON: ${(cause as Error).message}`, { at: { file } });
  }
}
