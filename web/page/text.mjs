// Reading text in a picture, in two networks: one marks the pixels of text lines, the other reads one line. This file is
// what lies around them: pixels to numbers, marks to boxes, letters to words. Numbers in, numbers out; no page, no canvas.
// The networks and what they expect: PP-OCRv4, https://github.com/PaddlePaddle/PaddleOCR

/** Side of the square the first network looks at, and height of a line for the second. */
export const FIND_SIDE = 480;
export const LINE_HEIGHT = 48;
const LINE_WIDTHS = [32, 960];

const FIND_SCALE = { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] };
const READ_SCALE = { mean: [0.5, 0.5, 0.5], deviation: [0.5, 0.5, 0.5] };

/** A pixel with at least this mark is text; a box is kept if its pixels' mean is at least the second. */
const MARKED = 0.3;
const SURE = 0.6;
/** The marks are of the middle of letters: how far a box grows, as a multiple of its area over its outline. */
const GROWTH = 1.6;
const SMALLEST_SIDE = 3;

/** RGBA bytes to a tensor [1, 3, height, width] in the networks' order, blue first. */
function planes({ data, width, height }, { mean, deviation }) {
  const size = width * height;
  const out = new Float32Array(3 * size);
  for (let c = 0; c < 3; c++)
    for (let i = 0; i < size; i++) out[c * size + i] = (data[4 * i + 2 - c] / 255 - mean[c]) / deviation[c];
  return { data: out, shape: [1, 3, height, width] };
}

export const findInput = (image) => planes(image, FIND_SCALE);
export const lineInput = (image) => planes(image, READ_SCALE);

/** How wide a line of this shape is at the height the network reads. */
export const lineWidth = ({ width, height }) =>
  Math.min(LINE_WIDTHS[1], Math.max(LINE_WIDTHS[0], Math.round((width * LINE_HEIGHT) / height)));

/** Marks [side, side] → boxes in reading order, in the marks' pixels. */
export function findBoxes(marks, side = FIND_SIDE) {
  const seen = new Uint8Array(marks.length);
  const boxes = [];
  for (let start = 0; start < marks.length; start++) {
    if (seen[start] || marks[start] < MARKED) continue;
    const box = grow(region(marks, side, start, seen), side);
    if (box) boxes.push(box);
  }
  return inReadingOrder(boxes);
}

/** The pixels that hang together with `start`: their bounds, number and sum. */
function region(marks, side, start, seen) {
  const bounds = { left: side, top: side, right: 0, bottom: 0, count: 0, sum: 0 };
  const stack = [start];
  seen[start] = 1;
  while (stack.length > 0) {
    const at = stack.pop();
    const [x, y] = [at % side, Math.floor(at / side)];
    bounds.left = Math.min(bounds.left, x);
    bounds.right = Math.max(bounds.right, x + 1);
    bounds.top = Math.min(bounds.top, y);
    bounds.bottom = Math.max(bounds.bottom, y + 1);
    bounds.count++;
    bounds.sum += marks[at];
    for (let ny = Math.max(0, y - 1); ny <= Math.min(side - 1, y + 1); ny++)
      for (let nx = Math.max(0, x - 1); nx <= Math.min(side - 1, x + 1); nx++) {
        const next = ny * side + nx;
        if (seen[next] || marks[next] < MARKED) continue;
        seen[next] = 1;
        stack.push(next);
      }
  }
  return bounds;
}

/** The box around the letters whose middle was marked, or null where it is too small or too unsure. */
function grow({ left, top, right, bottom, count, sum }, side) {
  const [width, height] = [right - left, bottom - top];
  if (Math.min(width, height) < SMALLEST_SIDE || sum / count < SURE) return null;
  const by = (width * height * GROWTH) / (2 * (width + height));
  const [x, y] = [Math.max(0, left - by), Math.max(0, top - by)];
  return { x, y, width: Math.min(side, right + by) - x, height: Math.min(side, bottom + by) - y };
}

/** From top to bottom; boxes that overlap by half of their height are on one line, from left to right. */
function inReadingOrder(boxes) {
  const lines = [];
  for (const box of boxes.toSorted((a, b) => a.y - b.y)) {
    const line = lines.find(
      ([first]) => Math.abs(middle(first) - middle(box)) < Math.min(first.height, box.height) / 2,
    );
    if (line) line.push(box);
    else lines.push([box]);
  }
  return lines.flatMap((line) => line.toSorted((a, b) => a.x - b.x));
}

const middle = (box) => box.y + box.height / 2;

/** Likelihoods [steps, classes] → text: the likeliest class of each step, repetitions and blanks (class 0) left out. */
export function spell({ data, shape }, alphabet) {
  const classes = shape.at(-1);
  let [text, previous, sure, letters] = ['', 0, 0, 0];
  for (let step = 0; step * classes < data.length; step++) {
    const row = data.subarray(step * classes, (step + 1) * classes);
    let best = 0;
    for (let c = 1; c < classes; c++) if (row[c] > row[best]) best = c;
    if (best !== 0 && best !== previous) {
      text += alphabet[best - 1] ?? ' ';
      sure += row[best];
      letters++;
    }
    previous = best;
  }
  return { text: text.trim(), sure: letters > 0 ? sure / letters : 0 };
}
