// The error function: x + x·p(x²) below 15/16, and 1 − erfc above. There erfc is exp(q(x)) in f32, q a polynomial of
// log erfc, and e^(−x²)·h((x − 2)/(x + 2)) in f64.

import { type Expr, rawOp } from '../scalar.js';
import { expInRange } from './exp.js';
import { abs, add, copySign, div, type FloatFormat, lt, mul, neg, num, polynomial, select, sub } from './format.js';

const EDGE = 15 / 16;

/** erf(x)/x − 1 in x², |x| ≤ 15/16. */
const NEAR: Record<FloatFormat['dtype'], readonly number[]> = {
  f32: [0.12837917, -0.3761263, 0.11283624, -0.026855595, 0.0051919934, -0.00080447074, 7.974865e-5], // 2^-29.9
  f64: [
    0.12837916709551256, -0.376126389031837, 0.1128379167095226, -0.026866170644519263, 0.005223977618684945,
    -0.0008548326582836761, 0.00012055314741251021, -1.4925152078165294e-5, 1.645299757042348e-6, -1.625487222313663e-7,
    1.3938047790642801e-8, -8.237870099333083e-10,
  ], // 2^-55.9
};

/** log erfc(t) on [0.93, 3.95]; error relative to 1: 2^-29.2. */
const LOG_ERFC = [-0.00021883176, -1.1275789, -0.63734704, -0.10378537, 0.022155687, -0.0030251688, 0.00019408017];

/** erfc(t)·e^(t²) in (t − 2)/(t + 2) on [15/16, 6]; 2^-58.5. */
const SCALED_ERFC = [
  0.2553956763105058, -0.4271858474139557, 0.24165819424242022, -0.0789785810173475, 0.003732892400679232,
  0.006997461894399515, -0.0008471421961411177, -0.0009819792327947835, 4.351584902349219e-5, 0.0001742734029109369,
  2.7816124951745263e-5, -2.602306452448524e-5, -1.212501969613313e-5,
];

function erfcFar(f: FloatFormat, magnitude: Expr): Expr {
  if (f.dtype === 'f32') {
    const t = rawOp('min', magnitude, num(f, 3.95));
    return expInRange(f, polynomial(f, t, LOG_ERFC));
  }
  const two = num(f, 2);
  const t = rawOp('min', magnitude, num(f, 6));
  const u = div(sub(t, two), add(t, two));
  return mul(expInRange(f, neg(mul(t, t))), polynomial(f, u, SCALED_ERFC));
}

export function erf(f: FloatFormat, x: Expr): Expr {
  const magnitude = abs(x);
  const bounded = rawOp('min', magnitude, num(f, EDGE));
  const near = add(bounded, mul(bounded, polynomial(f, mul(bounded, bounded), NEAR[f.dtype])));
  const far = sub(num(f, 1), erfcFar(f, magnitude));
  return copySign(f, select(lt(magnitude, num(f, EDGE)), near, far), x);
}
