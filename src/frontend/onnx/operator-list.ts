// The published ONNX operator sets: each operator with the opsets in which its definition changed and the element types it
// takes. Facts only, from a generated table (schemas/README.md); what heddle does with an operator stands in its record.

import { OPERATOR_SETS, TYPE_SETS } from './generated/operators.js';

export interface PublishedVersion {
  readonly version: number;
  /** By type variable. */
  readonly types: Readonly<Record<string, readonly string[]>>;
}

export interface PublishedOperator {
  readonly domain: string;
  readonly name: string;
  /** Opsets in which its definition changed, oldest first. */
  readonly versions: readonly PublishedVersion[];
}

/** `13:T=2,Tind=5` */
function parseVersion(text: string): PublishedVersion {
  const [version, variables = ''] = text.split(':');
  const types = variables
    .split(',')
    .filter(Boolean)
    .map((pair) => {
      const [name, set] = pair.split('=');
      return [name as string, TYPE_SETS[Number(set)]?.split(' ') ?? []] as const;
    });
  return { version: Number(version), types: Object.fromEntries(types) };
}

export const ONNX_OPERATORS: readonly PublishedOperator[] = Object.entries(OPERATOR_SETS).flatMap(([domain, rows]) =>
  rows.map((row) => {
    const [name, ...versions] = row.split(' ');
    return { domain, name: name as string, versions: versions.map(parseVersion) };
  }),
);

const VERSIONS = new Map(ONNX_OPERATORS.map((o) => [`${o.domain}:${o.name}`, o.versions.map((v) => v.version)]));

/** The version of an operator that is in force in an opset; the opset itself where nothing is published. */
export const versionInForce = (domain: string, name: string, opset: number): number =>
  VERSIONS.get(`${domain}:${name}`)
    ?.filter((v) => v <= opset)
    .at(-1) ?? opset;
