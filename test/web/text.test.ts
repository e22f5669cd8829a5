// What lies around the example page's text networks: marks to boxes, likelihoods to letters, pixels to numbers.

import { describe, expect, it } from 'vitest';

interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

interface Text {
  findBoxes(marks: Float32Array, side: number): Box[];
  spell(t: { data: Float32Array; shape: number[] }, alphabet: string[]): { text: string; sure: number };
  lineWidth(box: { width: number; height: number }): number;
  lineInput(image: { data: Uint8ClampedArray; width: number; height: number }): { data: Float32Array; shape: number[] };
}

const PLACE = '../../web/page/text.mjs';
const text = (await import(/* @vite-ignore */ PLACE)) as Text;

const SIDE = 40;
function mark(...areas: readonly (Box & { readonly value: number })[]): Float32Array {
  const marks = new Float32Array(SIDE * SIDE);
  for (const { x, y, width, height, value } of areas)
    for (let j = y; j < y + height; j++) marks.fill(value, j * SIDE + x, j * SIDE + x + width);
  return marks;
}

const area = (x: number, y: number, width: number, height: number, value = 0.9) => ({ x, y, width, height, value });

describe('boxes of text', () => {
  it('grow around what was marked', () => {
    const [box] = text.findBoxes(mark(area(10, 10, 20, 5)), SIDE);
    expect(box?.x).toBeLessThan(10);
    expect((box?.x ?? 0) + (box?.width ?? 0)).toBeGreaterThan(30);
    expect(box?.y).toBeGreaterThan(5);
  });

  it('come line by line, and in a line from the left', () => {
    const boxes = text.findBoxes(mark(area(25, 4, 8, 4), area(4, 5, 8, 4), area(4, 25, 8, 4)), SIDE);
    expect(boxes.map((b) => [b.x < 20, b.y < 20])).toEqual([
      [true, true],
      [false, true],
      [true, false],
    ]);
  });

  it('leave out specks and doubtful marks, and stay in the picture', () => {
    expect(text.findBoxes(mark(area(3, 3, 2, 2), area(20, 20, 10, 5, 0.4)), SIDE)).toEqual([]);
    const [edge] = text.findBoxes(mark(area(0, 0, SIDE, 6)), SIDE);
    expect(edge).toMatchObject({ x: 0, y: 0, width: SIDE });
  });
});

describe('letters', () => {
  const rows = (...classes: number[]) => {
    const data = new Float32Array(classes.length * 4);
    classes.forEach((c, step) => {
      data[step * 4 + c] = 0.8;
    });
    return { data, shape: [1, classes.length, 4] };
  };

  it('are told once, blanks apart, with how sure they are', () => {
    const { text: said, sure } = text.spell(rows(1, 1, 0, 1, 3, 2, 0), ['a', 'b']);
    expect(said).toBe('aa b');
    expect(sure).toBeCloseTo(0.8, 5);
    expect(text.spell(rows(0, 0), ['a', 'b'])).toEqual({ text: '', sure: 0 });
  });

  it('are read from a line of the height and order of colours the network knows', () => {
    expect(text.lineWidth({ width: 100, height: 24 })).toBe(200);
    expect(text.lineWidth({ width: 10, height: 24 })).toBe(32);
    expect(text.lineWidth({ width: 9000, height: 24 })).toBe(960);
    const input = text.lineInput({ data: Uint8ClampedArray.of(255, 0, 0, 255), width: 1, height: 1 });
    expect(input).toEqual({ data: Float32Array.of(-1, -1, 1), shape: [1, 3, 1, 1] });
  });
});
