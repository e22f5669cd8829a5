// All families.

import type { Family } from './case.js';
import { data } from './data.js';
import { binary, selection, unary, variadic } from './elementwise.js';
import { fusedOperators } from './contrib.js';
import { attentionOperators } from './contrib-attention.js';
import { quantizedOperators } from './contrib-quantized.js';
import { later } from './later.js';
import { classical } from './ml.js';
import { losses, normalisation, quantisation } from './norm.js';
import { detection, recurrent } from './recurrent.js';
import { ordered, reductions } from './reduce.js';
import { vectorsAndMaps } from './ml-svm.js';
import { products, sampling, windows } from './window.js';

export const FAMILIES: readonly Family[] = [
  unary,
  binary,
  variadic,
  selection,
  reductions,
  ordered,
  data,
  windows,
  products,
  sampling,
  normalisation,
  quantisation,
  losses,
  recurrent,
  detection,
  classical,
  vectorsAndMaps,
  fusedOperators,
  quantizedOperators,
  attentionOperators,
  later,
];
