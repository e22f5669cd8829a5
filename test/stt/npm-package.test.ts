// Places in npm packages: what is a name, what leads nowhere, and what a fetched package gives. No network is used.

import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { locate } from '../../src/cli/npm-package.js';
import { temporaryFolder, writeFile } from '../cli/heddle.js';

const cache = temporaryFolder();
const kept = join(cache, 'npm', '@scope+thing@1.2.3');
writeFile(join(kept, 'data', 'a.txt'), 'a');

describe('locate', () => {
  let before: string | undefined;
  beforeEach(() => {
    before = process.env.HEDDLE_CACHE;
    process.env.HEDDLE_CACHE = cache;
  });
  afterEach(() => {
    if (before === undefined) delete process.env.HEDDLE_CACHE;
    else process.env.HEDDLE_CACHE = before;
  });

  it('leaves ordinary paths alone', async () => {
    expect(await locate('some/file.wav')).toBe('some/file.wav');
  });

  it('finds what was fetched before', async () => {
    expect(await locate('npm:@scope/thing@1.2.3')).toBe(kept);
    expect(await locate('npm:@scope/thing@1.2.3/data/a.txt')).toBe(join(kept, 'data', 'a.txt'));
  });

  it.each([
    ['npm:', /E401.*names no package/],
    ['npm:thing', /E401.*names no package/],
    ['npm:thing@latest', /E401.*names no package/],
    ['npm:../thing@1.0.0', /E401.*names no package/],
    ['npm:--help@1.0.0', /E401.*names no package/],
    ['npm:@scope/thing@1.2.3/../../x', /E401.*leads out/],
    ['npm:@scope/thing@1.2.3/none', /E101.*holds no "none"/],
  ])('refuses %s', async (place, message) => {
    await expect(locate(place)).rejects.toThrow(message);
  });
});
