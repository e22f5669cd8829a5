// Calls the machine's C compiler. Units that do not compile are set aside, each with what the compiler said, and the rest
// is tried again without them.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { CompileError, InternalError } from '../../support/errors.js';

const run = promisify(execFile);

export const compilerName = (): string => process.env.CC || 'gcc';

export interface Build {
  readonly dir: string;
  /** Files per unit. */
  readonly sources: ReadonlyMap<string, readonly string[]>;
  readonly flags: readonly string[];
  readonly jobs: number;
}

/** Builds `server` from server.c and all units. `writeServer` writes server.c for the units that are left. Returns the failures. */
export async function compileObjects(
  build: Build,
  writeServer: (units: readonly string[]) => Promise<void>,
): Promise<Map<string, string>> {
  const failures = new Map<string, string>();
  for (;;) {
    const good = [...build.sources.keys()].filter((u) => !failures.has(u));
    if (good.length === 0) return failures;
    await writeServer(good);
    const errors = await compileAll(build, good);
    if (errors === '') return failures;
    const guilty = findGuilty(errors, good);
    if (guilty.size === 0) throw new InternalError(`internal: the C does not compile:\n${errors.slice(0, 4000)}`);
    for (const [unit, why] of guilty) failures.set(unit, why);
  }
}

/** Empty on success, else what the compiler said. */
async function compileAll(build: Build, units: readonly string[]): Promise<string> {
  const files = units.flatMap((u) => build.sources.get(u) ?? []);
  const flags = ['-std=c99', ...build.flags];
  if (build.jobs <= 1 || files.length < 2) return compile(build.dir, [...flags, '-o', 'server', 'server.c', ...files]);
  const groups = Array.from({ length: build.jobs }, (_, j) => files.filter((_, i) => i % build.jobs === j));
  const errors = await Promise.all(
    groups.filter((g) => g.length > 0).map((g) => compile(build.dir, [...flags, '-c', ...g])),
  );
  if (errors.some(Boolean)) return errors.join('');
  return compile(build.dir, [...flags, '-o', 'server', 'server.c', ...files.map((f) => f.replace(/\.[cS]$/, '.o'))]);
}

async function compile(dir: string, args: readonly string[]): Promise<string> {
  try {
    await run(compilerName(), args, { cwd: dir, maxBuffer: 2 ** 26 });
    return '';
  } catch (e) {
    const failure = e as { code?: unknown; stderr?: string; message: string };
    if (failure.code === 'ENOENT') {
      throw new CompileError('E404', `the C compiler "${compilerName()}" was not found`, {
        hint: 'Install gcc or clang, or name one in the environment variable CC',
      });
    }
    return failure.stderr || failure.message;
  }
}

/** Units whose files the messages name, with the lines that do. */
function findGuilty(errors: string, units: readonly string[]): Map<string, string> {
  const guilty = new Map<string, string>();
  const lines = errors.split('\n');
  const known = new Set(units);
  for (const line of lines) {
    const unit = /^(?:\.\/)?(\w+?)(?:_weights\.S|\.[cho]):.*(?:error|undefined|multiple)/.exec(line)?.[1];
    if (unit === undefined || !known.has(unit)) continue;
    const said = guilty.get(unit) ?? '';
    if (said.length < 2000) guilty.set(unit, `${said}${line}\n`);
  }
  return guilty;
}
