// `heddle stt`: speech to text. `transcribe` compiles a Moonshine model and runs it on recordings.

import type { CommandModule } from 'yargs';
import { runMoonshine } from '../../stt/moonshine.js';
import { decodeTokens, type Tokenizer } from '../../stt/tokenizer.js';
import { CompileError } from '../../support/errors.js';
import { readSpeech, type Speech } from '../audio.js';
import { codeBytes } from '../bench/heddle.js';
import { formatCount, printJson, printLine } from '../print.js';
import { startProgress } from '../progress.js';
import { type OpenedMoonshine, openMoonshine, openTokenizer } from '../speech-model.js';
import { hostOps, TARGETS, type Target } from '../targets.js';

interface TranscribeFlags {
  readonly audio: string[];
  readonly model: string;
  readonly tokenizer: string | undefined;
  readonly target: string;
  readonly maxSeconds: number;
  readonly numerics: string;
  readonly json: boolean;
}

/** What the model was trained on; beyond it, it repeats itself. */
const LONGEST_SECONDS = 64;

const transcribeCommand: CommandModule<unknown, TranscribeFlags> = {
  command: 'transcribe <audio..>',
  describe: 'Print what is said in WAV files',
  builder: (y) =>
    y
      .positional('audio', { type: 'string', array: true, demandOption: true, describe: 'WAV files' })
      .options({
        model: {
          type: 'string',
          requiresArg: true,
          demandOption: true,
          describe: 'Folder of a Moonshine model (encoder_model.onnx, decoder_model_merged.onnx)',
        },
        tokenizer: {
          type: 'string',
          requiresArg: true,
          describe: 'tokenizer.json; by default the one beside the model, else llama-tokenizer-js from npm',
        },
        target: { choices: TARGETS, default: 'wasm', requiresArg: true, describe: 'What to compile to and run on' },
        'max-seconds': {
          type: 'number',
          requiresArg: true,
          default: 30,
          describe: 'The longest recording to compile for',
        },
        numerics: {
          choices: ['fast', 'strict'],
          default: 'strict',
          describe: 'strict: the same words on every CPU target; fast: sums in any order',
        },
        json: { type: 'boolean', default: false, describe: 'Text, token ids and times as JSON on stdout' },
      })
      .epilogue('Any file or folder can come from an npm package: npm:<package>@<version>/<path in it>.') as never,
  handler: transcribe,
};

export const sttCommand: CommandModule = {
  command: 'stt',
  describe: 'Speech to text',
  builder: (y) => y.command(transcribeCommand).demandCommand(1, 1, 'Name a command.', 'Name one command.'),
  handler: () => undefined,
};

interface Transcript {
  readonly file: string;
  readonly text: string;
  readonly tokens: readonly number[];
  readonly seconds: number;
  readonly encoder_ms: number;
  readonly first_token_ms: number;
  /** Mean of the tokens after the first. */
  readonly token_ms: number;
  readonly total_ms: number;
  /** Real-time factor: the share of the recording's length it took. */
  readonly rtf: number;
}

async function transcribe(flags: TranscribeFlags): Promise<void> {
  const { model: place, target, maxSeconds, json } = flags;
  if (!(maxSeconds >= 1 && maxSeconds <= LONGEST_SECONDS))
    throw new CompileError('E401', `--max-seconds is ${maxSeconds}, not between 1 and ${LONGEST_SECONDS}`);
  const progress = startProgress();
  const recordings = await readAll(flags.audio, maxSeconds, progress.update);
  const tokenizer = await openTokenizer(flags.tokenizer, place);
  const opened = await openMoonshine(place, {
    target: target as Target,
    maxSeconds,
    compile: { numerics: flags.numerics as 'fast' | 'strict' },
    onStage: progress.update,
  });
  const results: Transcript[] = [];
  try {
    for (const [k, speech] of recordings.entries()) {
      const file = flags.audio[k] as string;
      progress.update(`transcribing ${file}`);
      const result = await transcribeOne(file, speech, opened, tokenizer);
      results.push(result);
      progress.done();
      if (!json) printText(result, recordings.length > 1);
    }
  } finally {
    progress.done();
    await opened.close();
  }
  if (json) printJson(report(flags, opened, results));
  else
    for (const line of [...(await describeParts(target as Target, opened)), ...describeTimes(target, opened, results)])
      progress.line(line);
}

async function readAll(
  files: readonly string[],
  maxSeconds: number,
  onStage: (text: string) => void,
): Promise<Speech[]> {
  const recordings: Speech[] = [];
  for (const file of files) {
    onStage(`reading ${file}`);
    const speech = await readSpeech(file);
    if (speech.seconds > maxSeconds)
      throw new CompileError(
        'E402',
        `"${file}" is ${speech.seconds.toFixed(1)} s long, and the bound is ${maxSeconds} s`,
        {
          hint:
            maxSeconds < LONGEST_SECONDS ? `--max-seconds raises it, up to ${LONGEST_SECONDS}` : 'Cut it at a pause',
        },
      );
    recordings.push(speech);
  }
  return recordings;
}

async function transcribeOne(
  file: string,
  { seconds, samples }: Speech,
  { model }: OpenedMoonshine,
  tokenizer: Tokenizer,
): Promise<Transcript> {
  const start = performance.now();
  const { tokens, encoderMs, stepsMs } = await runMoonshine(model, samples);
  const total = performance.now() - start;
  const [first = 0, ...later] = stepsMs;
  return {
    file,
    text: decodeTokens(tokenizer, tokens),
    tokens,
    seconds: round(seconds, 3),
    encoder_ms: round(encoderMs),
    first_token_ms: round(first),
    token_ms: round(later.reduce((a, b) => a + b, 0) / Math.max(1, later.length), 2),
    total_ms: round(total),
    rtf: round(total / 1000 / seconds, 4),
  };
}

const round = (x: number, digits = 1): number => Number(x.toFixed(digits));

const printText = ({ file, text }: Transcript, named: boolean): void => printLine(named ? `${file}\t${text}` : text);

const compileTimes = ({ timings }: OpenedMoonshine) => ({
  encoder_ms: round(timings.encoderMs),
  decoder_ms: round(timings.decoderMs),
  open_ms: round(timings.openMs),
});

const peakMegabytes = (): number => round(process.resourceUsage().maxRSS / 1024, 0);

const report = (flags: TranscribeFlags, opened: OpenedMoonshine, results: readonly Transcript[]): unknown => ({
  model: flags.model,
  target: flags.target,
  compile: compileTimes(opened),
  weight_bytes: opened.weightBytes,
  peak_memory_mb: peakMegabytes(),
  results,
});

/** What was compiled, a line a part; the size of the code where it is at hand without another compiler. */
async function describeParts(target: Target, { programs }: OpenedMoonshine): Promise<readonly string[]> {
  const lines = Object.entries(programs).map(async ([name, p]) => {
    const host = hostOps(p);
    const code = target === 'wasm' ? `code ${formatCount(await codeBytes(target, p))} bytes, ` : '';
    return (
      `${name}: ${p.kernels.length} kernels, ${host.length === 0 ? 'no operator left to a host' : `left to the host: ${host.join(', ')}`}; ` +
      `${code}weights ${formatCount(p.weightBytes)} bytes, arena ${formatCount(p.arenaBytes)} bytes`
    );
  });
  return Promise.all(lines);
}

function describeTimes(target: string, opened: OpenedMoonshine, results: readonly Transcript[]): readonly string[] {
  const c = compileTimes(opened);
  const ms = (x: number): string => `${x.toFixed(0)} ms`;
  const compiled = `compiled for ${target}: encoder ${ms(c.encoder_ms)}, decoder ${ms(c.decoder_ms)}, opened in ${ms(c.open_ms)}; peak memory ${peakMegabytes()} MB`;
  return [
    compiled,
    ...results.map(
      (r) =>
        `${r.file}: ${r.seconds.toFixed(1)} s of audio in ${ms(r.total_ms)} (real-time factor ${r.rtf.toFixed(3)}): ` +
        `encoder ${ms(r.encoder_ms)}, first token ${ms(r.first_token_ms)}, then ${r.token_ms.toFixed(1)} ms a token`,
    ),
  ];
}
