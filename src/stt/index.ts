// Speech to text on top of compiled models: audio in, text out. Everything here runs in a browser too.

export {
  MOONSHINE_BASE,
  MOONSHINE_RATE,
  MOONSHINE_TINY,
  type Moonshine,
  type MoonshineCache,
  type MoonshineDims,
  type MoonshineOptions,
  type MoonshineResult,
  moonshineDims,
  runMoonshine,
} from './moonshine.js';
export { type LoadedModel, modelPart, type Part, type PartTensor, type PartTensors, sessionPart } from './part.js';
export { resample } from './resample.js';
export { decodeTokens, llamaTokenizer, readTokenizer, type Tokenizer } from './tokenizer.js';
export { type Recording, readWav } from './wav.js';
