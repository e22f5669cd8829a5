// An installed Chromium, headless, for tests of pages: with a software WebGPU adapter, or with none. Nothing is downloaded;
// where there is no browser those tests skip, and say so.

import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/** The browser's program, or null, said aloud. HEDDLE_CHROMIUM names another. */
export function findChromium(): string | null {
  const { HEDDLE_CHROMIUM: given, PATH = '' } = process.env;
  const places = PATH.split(delimiter).flatMap((dir) => NAMES.map((name) => join(dir, name)));
  const found = given ?? places.find((place) => existsSync(place)) ?? null;
  if (!found) process.stderr.write(`SKIPPED: tests in a browser, as none of ${NAMES.join(', ')} is installed\n`);
  return found;
}

/** SwiftShader computes what a graphics card would. */
export const openChromium = (executablePath: string, webgpu: 'software' | 'none'): Promise<Browser> =>
  chromium.launch({
    executablePath,
    args: [
      '--no-sandbox',
      ...(webgpu === 'none'
        ? ['--disable-features=WebGPU']
        : ['--enable-unsafe-webgpu', '--enable-features=Vulkan', '--use-webgpu-adapter=swiftshader']),
      '--use-fake-ui-for-media-stream',
      '--use-fake-device-for-media-stream',
    ],
  });
