// The runtimes heddle is compared with: how each is found and for what models. They are no dependencies of heddle: they
// are taken from bench/node_modules of its source tree or from the project one stands in, and loaded when asked for.

import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { SourceModel } from '../../frontend/source.js';
import { CompileError } from '../../support/errors.js';
import type { Target } from '../targets.js';
import type { BenchInput, Contender } from './contender.js';

type Open = (input: BenchInput, find: Find) => Promise<Contender>;
/** The path of a file in the peer's package. */
export type Find = (specifier: string) => string;

interface Peer {
  readonly package: string;
  readonly format: SourceModel['format'];
  /** The target that runs on the same kind of machine: the default pairing. */
  readonly like: Target;
  readonly load: () => Promise<Open>;
}

const PEERS = {
  'onnxruntime-node': {
    package: 'onnxruntime-node',
    format: 'onnx',
    like: 'c',
    load: async () => (await import('./onnxruntime.js')).openOnnxruntimeNode,
  },
  'onnxruntime-web': {
    package: 'onnxruntime-web',
    format: 'onnx',
    like: 'wasm',
    load: async () => (await import('./onnxruntime.js')).openOnnxruntimeWeb,
  },
  litert: {
    package: '@litertjs/core',
    format: 'tflite',
    like: 'wasm',
    load: async () => (await import('./litert.js')).openLitert,
  },
  'tfjs-tflite': {
    package: '@tensorflow/tfjs-tflite',
    format: 'tflite',
    like: 'wasm',
    load: async () => (await import('./tfjs-tflite.js')).openTfjsTflite,
  },
} as const satisfies Record<string, Peer>;

export type PeerName = keyof typeof PEERS;
export const PEER_NAMES = Object.keys(PEERS) as readonly PeerName[];

export const peerOf = (name: PeerName): Peer => PEERS[name];

export function parsePeers(given: readonly string[]): readonly PeerName[] {
  const names = [...new Set(given.flatMap((text) => text.split(',')).filter(Boolean))];
  const unknown = names.find((name) => !(PEER_NAMES as readonly string[]).includes(name));
  if (unknown === undefined) return names as PeerName[];
  throw new CompileError('E401', `there is no runtime "${unknown}" to compare with`, {
    hint: `Runtimes: ${PEER_NAMES.join(', ')}`,
  });
}

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');

/** Finds files of the peer's package; E404 where it is not installed. */
export function locatePeer(name: PeerName): Find {
  const peer: Peer = PEERS[name];
  for (const folder of [join(ROOT, 'bench'), process.cwd()]) {
    const { resolve } = createRequire(join(folder, 'package.json'));
    try {
      resolve(peer.package);
      return resolve;
    } catch {
      // the next place
    }
  }
  throw new CompileError('E404', `${name} (npm package ${peer.package}) is not installed`, {
    hint: `Run "npm run bench:setup" in heddle's source tree, or "npm install ${peer.package}" here`,
  });
}

export async function openPeer(name: PeerName, input: BenchInput): Promise<Contender> {
  const find = locatePeer(name);
  const open = await peerOf(name).load();
  return open(input, find);
}
