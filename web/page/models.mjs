// Loads artifacts for a backend: all WebGPU models share one device. The files say nothing of the page; another page loads
// them in the same three lines.

/** What is said where there is no WebGPU, and of the adapter where there is. */
export async function findAdapter() {
  const { gpu } = navigator;
  if (!gpu) {
    const why = isSecureContext ? 'This browser has no WebGPU.' : 'WebGPU needs a secure page: https, or localhost.';
    return { adapter: null, why };
  }
  const adapter = await gpu.requestAdapter().catch(() => null);
  if (!adapter) return { adapter: null, why: 'This browser has WebGPU, but found no graphics adapter it can use.' };
  return { adapter, why: '' };
}

export function describeAdapter({ info, features, limits }) {
  const name = [info.vendor, info.architecture, info.device, info.description].filter(Boolean).join(' ') || 'unnamed';
  return {
    name,
    isSoftware: info.isFallbackAdapter === true || /swiftshader|llvmpipe|software/i.test(name),
    subgroups: features.has('subgroups'),
    f16: features.has('shader-f16'),
    bindingBytes: limits.maxStorageBufferBindingSize,
  };
}

let shared;

/** One device for all models, with all that this adapter offers of what they might need. */
function openDevice() {
  shared ??= (async () => {
    const { adapter, why } = await findAdapter();
    if (!adapter) throw new Error(why);
    const { maxStorageBuffersPerShaderStage, maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
    const requiredLimits = { maxStorageBuffersPerShaderStage, maxStorageBufferBindingSize, maxBufferSize };
    const device = await adapter.requestDevice({ requiredLimits });
    device.lost.then(() => {
      shared = undefined;
      loaded.clear();
    });
    return device;
  })();
  shared.catch(() => {
    shared = undefined;
  });
  return shared;
}

const loaded = new Map();

/** Models of the other backend are let go: a phone has not memory for both. */
function freeOthers(target) {
  for (const [key, model] of loaded) {
    if (key.endsWith(`-${target}`)) continue;
    loaded.delete(key);
    model.close?.();
  }
}

/** The model `name` for `target`; `hear({ what, done, total })` while it comes. Loaded before, it is there at once. */
export async function loadModel(name, target, hear) {
  freeOthers(target);
  const key = `${name}-${target}`;
  const known = loaded.get(key);
  if (known) return known;
  const { load } = await import(new URL(`./models/${key}/model.mjs`, import.meta.url).href);
  const model = await load({
    ...(target === 'webgpu' ? { device: await openDevice() } : {}),
    onWeights: (done, total) => hear({ what: `${name}: weights`, done, total }),
    onProgress: (done, total) => hear({ what: `${name}: shaders`, done, total }),
  });
  loaded.set(key, model);
  return model;
}
