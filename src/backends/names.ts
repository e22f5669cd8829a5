// Identifiers for emitted code: any model name becomes a valid, unreserved and unique identifier, the same one every time.

export interface Names {
  /** A fresh identifier that reads like `wanted`. */
  readonly fresh: (wanted: string) => string;
}

/** `wanted` with everything that is not a letter, digit or underscore replaced; never empty, never starting with a digit. */
export function sanitize(wanted: string): string {
  const clean = wanted
    .replace(/[^A-Za-z0-9_]+/g, '_')
    .replace(/^_+(?=.)|_+$/g, '')
    .replace(/__+/g, '_');
  return /^[A-Za-z]/.test(clean) ? clean : `v${clean}`;
}

/** Names are unique within one table; `reserved` are never given out. */
export function createNames(reserved: Iterable<string> = []): Names {
  const taken = new Set(reserved);
  const next = new Map<string, number>();
  const fresh = (wanted: string): string => {
    const base = sanitize(wanted);
    let name = base;
    let n = next.get(base) ?? 2;
    for (; taken.has(name); n++) name = `${base}_${n}`;
    next.set(base, n);
    taken.add(name);
    return name;
  };
  return { fresh };
}
