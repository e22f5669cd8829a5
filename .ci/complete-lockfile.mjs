// Adds to package-lock.json the optional packages for other platforms that its registry did not offer when it was written.
// Without them `npm ci` calls the lock file incomplete. Run after `npm install`; does nothing where nothing is missing.

import { readFileSync, writeFileSync } from 'node:fs';

const OS = { android: 'android', darwin: 'darwin', freebsd: 'freebsd', linux: 'linux', openharmony: 'openharmony' };
const WINDOWS = ['win32', 'windows'];
const CPU = ['arm64', 'arm', 'x64', 'ia32', 'ppc64', 's390x', 'riscv64', 'loong64', 'mips64el', 'wasm32'];

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'));
let added = 0;
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, range] of Object.entries(entry.optionalDependencies ?? {})) {
    const key = `node_modules/${name}`;
    if (lock.packages[key] || lock.packages[`${path}/node_modules/${name}`]) continue;
    lock.packages[key] = {
      version: range.replace(/^[~^]/, ''),
      ...platformOf(name),
      ...(entry.dev ? { dev: true } : {}),
      optional: true,
    };
    added++;
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync('package-lock.json', `${JSON.stringify(lock, null, 2)}\n`);
console.log(`${added} entries added`);

/** `@scope/cli-linux-arm64-musl` → os, cpu, libc. */
function platformOf(name) {
  const words = name.split(/[/-]/);
  const os = words.map((word) => (WINDOWS.includes(word) ? 'win32' : OS[word])).find(Boolean);
  const cpu = words
    .map((word) => CPU.find((c) => word === c || (c === 'arm' && word.startsWith('arm') && word !== 'arm64')))
    .find(Boolean);
  const libc = words.some((word) => word.startsWith('musl'))
    ? 'musl'
    : words.some((word) => word.startsWith('gnu'))
      ? 'glibc'
      : null;
  const only = name === 'fsevents' ? { os: ['darwin'] } : {};
  return {
    ...(os ? { os: [os] } : only),
    ...(cpu ? { cpu: [cpu] } : {}),
    ...(os === 'linux' && libc ? { libc: [libc] } : {}),
  };
}
