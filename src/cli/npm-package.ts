// Files that npm packages ship: `npm:<package>@<version>[/<path in it>]`. The tarball alone is fetched, through the
// user's own npm with its registry and cache, never its dependencies or scripts, and is kept in heddle's cache folder.

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve, sep } from 'node:path';
import { promisify } from 'node:util';
import { extract } from 'tar';
import { CompileError } from '../support/errors.js';

const PREFIX = 'npm:';
const SPEC = /^npm:(?<name>(?:@\w[\w.-]*\/)?\w[\w.-]*)@(?<version>\d+\.\d+\.\d+[\w.+-]*)(?:\/(?<path>.+))?$/;

/** Who is offline learns it within seconds. */
const RETRY = ['--fetch-retries=1', '--fetch-retry-mintimeout=1000', '--fetch-retry-maxtimeout=5000'];

/** The path itself, or where the named file or folder of a package lies once it is fetched. */
export async function locate(place: string): Promise<string> {
  if (!place.startsWith(PREFIX)) return place;
  const parts = SPEC.exec(place)?.groups;
  if (!parts?.name || !parts.version)
    throw new CompileError('E401', `"${place}" names no package`, {
      hint: 'Write npm:<package>@<version>, optionally with /<path> behind it',
    });
  const folder = await fetchPackage(parts.name, parts.version);
  const path = resolve(folder, parts.path ?? '.');
  if (path !== folder && !path.startsWith(folder + sep))
    throw new CompileError('E401', `"${place}" leads out of the package`);
  if (!existsSync(path)) throw new CompileError('E101', `${parts.name}@${parts.version} holds no "${parts.path}"`);
  return path;
}

/** `$HEDDLE_CACHE`, or heddle's folder where the system keeps caches. */
export const cacheFolder = (): string =>
  process.env.HEDDLE_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'heddle');

async function fetchPackage(name: string, version: string): Promise<string> {
  const parent = join(cacheFolder(), 'npm');
  const folder = join(parent, `${name.replace('/', '+')}@${version}`);
  if (existsSync(folder)) return folder;
  await mkdir(parent, { recursive: true });
  const work = await mkdtemp(join(parent, '.fetch-'));
  try {
    const tarball = await pack(`${name}@${version}`, work);
    const unpacked = join(work, 'package');
    await mkdir(unpacked);
    await extract({ file: tarball, cwd: unpacked, strip: 1, preservePaths: false });
    await moveTo(unpacked, folder);
    return folder;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Somebody else may have fetched the same package meanwhile: theirs is as good. */
async function moveTo(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (cause) {
    if (!existsSync(to)) throw cause;
  }
}

/** `npm pack`: checks the registry's integrity hash; E404 without npm, E101 where the package cannot be had. */
async function pack(spec: string, into: string): Promise<string> {
  const args = ['pack', spec, '--json', '--ignore-scripts', '--loglevel=error', `--pack-destination=${into}`, ...RETRY];
  const script = process.env.npm_execpath?.endsWith('.js') ? process.env.npm_execpath : null;
  const [command, ...before] = script ? [process.execPath, script] : ['npm'];
  try {
    const { stdout } = await promisify(execFile)(command, [...before, ...args], {
      cwd: into,
      shell: process.platform === 'win32' && !script,
      maxBuffer: 64 << 20,
    });
    return join(into, packedName(stdout));
  } catch (cause) {
    const { code, stderr = '', message } = cause as { code?: unknown; stderr?: string; message: string };
    if (code === 'ENOENT') throw new CompileError('E404', `npm is needed to fetch ${spec}, and is not installed`);
    throw new CompileError('E101', `${spec} cannot be fetched from npm: ${reason(stderr || message)}`, {
      hint: `It is fetched once and then kept in ${cacheFolder()}; give the files' own paths to do without`,
    });
  }
}

/** Names in the listing are as in the registry; on disk a scope's slash is a dash. */
function packedName(listing: string): string {
  const [first] = JSON.parse(listing) as { filename: string }[];
  if (!first) throw new Error('npm packed nothing');
  return first.filename.replace(/^@/, '').replace('/', '-');
}

function reason(text: string): string {
  if (/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH|ENOTCACHED|network/i.test(text))
    return 'no connection to the registry';
  if (/E404|ETARGET|notarget/i.test(text)) return 'the registry has no such version';
  const line = text.split('\n').find((l) => l.startsWith('npm error') && !/npm error (code|A complete log)/.test(l));
  return (line ?? text.split('\n')[0] ?? '').replace(/^npm error\s*/, '').trim();
}
