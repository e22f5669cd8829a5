// Finds the record and the decoding that hold for a source node: by format, domain, name and version.
// Plugins add records in front; a plugin may replace a record of ours.

import type { AnyRecord, Attrs, Decode } from './ops/record.js';
import type { SourceNode } from './source.js';

export interface FoundRecord {
  readonly record: AnyRecord;
  readonly decode: Decode<Attrs>;
}

export interface RecordTable {
  readonly records: readonly AnyRecord[];
  /** Undefined where no record knows the operator, or none of its decodings is old enough. */
  find(format: 'onnx' | 'tflite', node: Pick<SourceNode, 'op' | 'domain' | 'version'>): FoundRecord | undefined;
}

interface Versioned extends FoundRecord {
  readonly since: number;
}

/** 'ai.onnx.ml:Normalizer@1' → domain, name, version. */
export function parseKey(key: string): { domain: string; name: string; since: number } {
  const m = /^(?:(?<domain>[^:]+):)?(?<name>[^@]+)@(?<since>\d+)$/.exec(key);
  if (!m?.groups) throw new Error(`record key "${key}" is not domain:Name@version`);
  return { domain: m.groups.domain ?? 'ai.onnx', name: m.groups.name as string, since: Number(m.groups.since) };
}

export function createRecordTable(records: readonly AnyRecord[]): RecordTable {
  const onnx = new Map<string, Versioned[]>();
  const tflite = new Map<string, FoundRecord>();
  for (const record of records) {
    for (const [key, decode] of Object.entries(record.onnx ?? {})) {
      const { domain, name, since } = parseKey(key);
      const id = `${domain}:${name}`;
      const list = onnx.get(id) ?? [];
      onnx.set(
        id,
        [...list.filter((v) => v.since !== since), { since, record, decode }].sort((p, q) => q.since - p.since),
      );
    }
    for (const [key, decode] of Object.entries(record.tflite ?? {})) tflite.set(key, { record, decode });
  }
  return {
    records,
    find(format, node) {
      if (format === 'tflite') return tflite.get(node.domain === 'tflite.custom' ? `custom:${node.op}` : node.op);
      return onnx.get(`${node.domain}:${node.op}`)?.find((v) => v.since <= node.version);
    },
  };
}
