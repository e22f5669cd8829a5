// The one table of operators. A family file exports `records`; adding an operator is adding a record to a family.

import { records as matmul } from './matmul.js';
import { records as conv } from './conv.js';
import { records as pool } from './pool.js';
import { records as norm } from './norm.js';
import { records as quantize } from './quantize.js';
import { records as qlinear } from './qlinear.js';
import { records as resize } from './resize.js';
import { records as gridSample } from './grid-sample.js';
import { records as attention } from './attention.js';
import { records as attentionContrib } from './attention-contrib.js';
import { records as contrib } from './contrib.js';
import type { AnyRecord } from './record.js';

export const RECORDS: readonly AnyRecord[] = [
  ...matmul,
  ...conv,
  ...pool,
  ...norm,
  ...quantize,
  ...qlinear,
  ...resize,
  ...gridSample,
  ...attention,
  ...attentionContrib,
  ...contrib,
];
