// The one table of operators. A family file exports `records`; adding an operator is adding a record to a family.

import { records as matmul } from './matmul.js';
import { records as conv } from './conv.js';
import { records as pool } from './pool.js';
import { records as norm } from './norm.js';
import { records as quantize } from './quantize.js';
import { records as qlinear } from './qlinear.js';
import { records as integerProduct } from './integer-product.js';
import { records as resize } from './resize.js';
import { records as gridSample } from './grid-sample.js';
import { records as attention } from './attention.js';
import { records as attentionContrib } from './attention-contrib.js';
import { records as attentionGrouped } from './attention-grouped.js';
import { records as contrib } from './contrib.js';
import { records as contribNorm } from './contrib-norm.js';
import { records as positionBias } from './position-bias.js';
import { records as tokens } from './tokens.js';
import { records as elementwise } from './elementwise.js';
import { records as logic } from './logic.js';
import { records as bitwise } from './bitwise.js';
import { records as cast } from './cast.js';
import { records as activation } from './activation.js';
import { records as softmax } from './softmax.js';
import { records as prefix } from './prefix.js';
import { records as triangular } from './triangular.js';
import { records as reduce } from './reduce.js';
import { records as shape } from './shape.js';
import { records as repeat } from './repeat.js';
import { records as concat } from './concat.js';
import { records as pad } from './pad.js';
import { records as blocks } from './blocks.js';
import { records as reverse } from './reverse.js';
import { records as slice } from './slice.js';
import { records as stridedSlice } from './strided-slice.js';
import { records as gather } from './gather.js';
import { records as scatter } from './scatter.js';
import { records as creation } from './creation.js';
import { records as signal } from './signal.js';
import { records as ml } from './ml.js';
import { records as mlTrees } from './ml-trees.js';
import { records as windowFunctions } from './window-functions.js';
import { records as control } from './control.js';
import { records as loop } from './loop.js';
import { records as scan } from './scan.js';
import { records as resizeTflite } from './resize-tflite.js';
import { records as matmulNbits } from './matmul-nbits.js';
import { records as dropout } from './dropout.js';
import { records as rnn } from './rnn.js';
import { records as rnnQuantized } from './rnn-quantized.js';
import { records as sort } from './sort.js';
import { records as nms } from './nms.js';
import { records as tfliteState } from './tflite-state.js';
import { records as linearAttention } from './linear-attention.js';
import { records as deformConv } from './deform-conv.js';
import { records as svdf } from './svdf.js';
import { records as tfliteLstm } from './tflite-lstm.js';
import { records as tfliteRnn } from './tflite-rnn.js';
import { records as selectData } from './select-data.js';
import { records as loss } from './loss.js';
import { records as sequence } from './sequence.js';
import { records as tfliteSignal } from './tflite-signal.js';
import { records as tfliteFrames } from './tflite-frames.js';
import { records as roi } from './roi.js';
import { records as geometry } from './geometry.js';
import { records as elimination } from './elimination.js';
import { records as training } from './training.js';
import { records as random } from './random.js';
import { records as tfliteAudio } from './tflite-audio.js';
import { records as detection } from './detection.js';
import { records as gradient } from './gradient.js';
import { records as imageDecoder } from './image-decoder.js';
import { records as strings } from './strings.js';
import { records as vocabulary } from './vocabulary.js';
import { records as mediapipe } from './mediapipe.js';
import { records as segment } from './segment.js';
import { records as complex } from './complex.js';
import { records as mlSvm } from './ml-svm.js';
import { records as mlMaps } from './ml-maps.js';
import type { AnyRecord } from './record.js';

export const RECORDS: readonly AnyRecord[] = [
  ...elementwise,
  ...logic,
  ...bitwise,
  ...cast,
  ...activation,
  ...softmax,
  ...prefix,
  ...triangular,
  ...reduce,
  ...shape,
  ...repeat,
  ...concat,
  ...pad,
  ...blocks,
  ...reverse,
  ...slice,
  ...stridedSlice,
  ...gather,
  ...scatter,
  ...creation,
  ...matmul,
  ...conv,
  ...pool,
  ...norm,
  ...quantize,
  ...qlinear,
  ...integerProduct,
  ...resize,
  ...gridSample,
  ...attention,
  ...attentionContrib,
  ...attentionGrouped,
  ...contrib,
  ...contribNorm,
  ...positionBias,
  ...tokens,
  ...signal,
  ...ml,
  ...mlTrees,
  ...mlSvm,
  ...mlMaps,
  ...windowFunctions,
  ...control,
  ...loop,
  ...scan,
  ...resizeTflite,
  ...matmulNbits,
  ...dropout,
  ...rnn,
  ...rnnQuantized,
  ...sort,
  ...nms,
  ...tfliteState,
  ...linearAttention,
  ...deformConv,
  ...svdf,
  ...tfliteLstm,
  ...tfliteRnn,
  ...selectData,
  ...loss,
  ...sequence,
  ...tfliteSignal,
  ...tfliteFrames,
  ...roi,
  ...geometry,
  ...elimination,
  ...training,
  ...random,
  ...tfliteAudio,
  ...detection,
  ...gradient,
  ...imageDecoder,
  ...strings,
  ...vocabulary,
  ...mediapipe,
  ...segment,
  ...complex,
];
