// The house rules a compiler does not check: who may import whom, what must run in a browser, no cycles, no `any`.
// Imports and names are read with TypeScript's own parser, so comments and strings never confuse it.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { ONNX_OPERATORS } from '../src/frontend/onnx/operator-list.js';
import { ENUMS } from '../src/frontend/tflite/generated/schema.js';

const SRC = join(dirname(fileURLToPath(import.meta.url)), '..', 'src');

interface Import {
  readonly specifier: string;
  /** Path under src/ for a relative import, else null. */
  readonly target: string | null;
  readonly typeOnly: boolean;
}

interface SourceFacts {
  readonly path: string;
  readonly tree: ts.SourceFile;
  readonly imports: readonly Import[];
}

/** Each layer and the layers it may import, itself aside. `api` is src/index.ts, `compile` is src/compile.ts. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  support: [],
  ir: ['support'],
  frontend: ['ir', 'support'],
  passes: ['ir', 'support'],
  // A backend writes what the runtime loads: their contract lies with the runtime, which users ship.
  backends: ['ir', 'support', 'runtime'],
  compile: ['frontend', 'passes', 'backends', 'ir', 'support'],
  runtime: [],
  api: ['compile', 'frontend', 'passes', 'backends', 'ir', 'support', 'runtime'],
  stt: ['api', 'runtime', 'support'],
  cli: ['api', 'compile', 'frontend', 'passes', 'backends', 'ir', 'support', 'runtime', 'stt'],
};

const NODE_GLOBALS = new Set(['Buffer', 'process', 'require', '__dirname', '__filename', 'setImmediate', 'global']);

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .map((name) => name.split(sep).join('/'))
  .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts') && !name.includes('generated/'))
  .sort()
  .map(readFacts);

function readFacts(path: string): SourceFacts {
  const tree = ts.createSourceFile(path, readFileSync(join(SRC, path), 'utf8'), ts.ScriptTarget.Latest, true);
  const imports: Import[] = [];
  walk(tree, (node) => {
    const found = importOf(node);
    if (found) imports.push({ ...found, target: resolve(path, found.specifier) });
  });
  return { path, tree, imports };
}

function walk(node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node);
  ts.forEachChild(node, (child) => walk(child, visit));
}

/** `import`, `export … from`, `import(…)`, `import('…').Type`. */
function importOf(node: ts.Node): { specifier: string; typeOnly: boolean } | null {
  if (ts.isImportDeclaration(node) && ts.isStringLiteral(node.moduleSpecifier)) {
    const clause = node.importClause;
    const named = clause?.namedBindings;
    const allTypes =
      !!named && ts.isNamedImports(named) && !clause.name && named.elements.every((element) => element.isTypeOnly);
    return { specifier: node.moduleSpecifier.text, typeOnly: clause?.isTypeOnly === true || allTypes };
  }
  if (ts.isExportDeclaration(node) && node.moduleSpecifier && ts.isStringLiteral(node.moduleSpecifier)) {
    return { specifier: node.moduleSpecifier.text, typeOnly: node.isTypeOnly };
  }
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
    const [argument] = node.arguments;
    return argument && ts.isStringLiteral(argument) ? { specifier: argument.text, typeOnly: false } : null;
  }
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument) && ts.isStringLiteral(node.argument.literal)) {
    return { specifier: node.argument.literal.text, typeOnly: true };
  }
  return null;
}

function resolve(from: string, specifier: string): string | null {
  if (!specifier.startsWith('.')) return null;
  const path = relative('.', normalize(join(dirname(from), specifier)));
  return path.split(sep).join('/').replace(/\.js$/, '.ts');
}

function layerOf(path: string): string {
  if (path === 'index.ts') return 'api';
  return path.includes('/') ? path.slice(0, path.indexOf('/')) : path.replace(/\.ts$/, '');
}

const mayUseNode = (path: string): boolean => path.startsWith('cli/') || path.endsWith('-node.ts');

/** Files that do use Node, and so may only be imported by others that may. */
const nodeFiles = new Set(
  files
    .filter((file) => mayUseNode(file.path) && file.imports.some((i) => i.specifier.startsWith('node:')))
    .map((file) => file.path),
);

const place = (file: SourceFacts, node: ts.Node): string =>
  `src/${file.path}:${file.tree.getLineAndCharacterOfPosition(node.getStart()).line + 1}`;

function findings(check: (file: SourceFacts, node: ts.Node) => string | null): string[] {
  const found: string[] = [];
  for (const file of files) {
    walk(file.tree, (node) => {
      const what = check(file, node);
      if (what) found.push(`${place(file, node)} ${what}`);
    });
  }
  return found;
}

/** An identifier used as a value, not as a property or member name, that nothing in the file declares. */
function isFreeGlobal(node: ts.Node): node is ts.Identifier {
  if (!ts.isIdentifier(node) || !NODE_GLOBALS.has(node.text)) return false;
  const parent = node.parent;
  if (ts.isPropertyAccessExpression(parent) && parent.name === node) return false;
  if (ts.isQualifiedName(parent) && parent.right === node) return false;
  if ('name' in parent && parent.name === node) return false;
  if ((ts.isBindingElement(parent) && parent.propertyName === node) || ts.isPropertyName(parent)) return false;
  return !declares(node.getSourceFile(), node.text);
}

function declares(tree: ts.SourceFile, name: string): boolean {
  let found = false;
  walk(tree, (node) => {
    const named = ts.isVariableDeclaration(node) || ts.isParameter(node) || ts.isFunctionDeclaration(node);
    if ((named || ts.isBindingElement(node)) && node.name && ts.isIdentifier(node.name)) {
      found ||= node.name.text === name;
    }
  });
  return found;
}

/** The first cycle of value imports reachable from each file; type-only imports vanish and cannot close one. */
function findCycles(): string[] {
  const edges = new Map(
    files.map((f) => [f.path, f.imports.filter((i) => !i.typeOnly && i.target).map((i) => i.target as string)]),
  );
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    if (trail.includes(path)) cycles.push([...trail.slice(trail.indexOf(path)), path].join(' → '));
    if (done.has(path) || trail.includes(path)) return;
    for (const next of edges.get(path) ?? []) visit(next, [...trail, path]);
    done.add(path);
  };
  for (const path of edges.keys()) visit(path, []);
  return cycles;
}

describe('architecture', () => {
  it('lets a layer import only the layers below it', () => {
    const wrong = files.flatMap((file) => {
      const layer = layerOf(file.path);
      const allowed = ALLOWED[layer];
      if (!allowed) return [`src/${file.path}: no layer of that name`];
      return file.imports
        .filter((i) => i.target !== null && layerOf(i.target) !== layer && !allowed.includes(layerOf(i.target)))
        .map((i) => `src/${file.path} (${layer}) imports ${i.specifier}`);
    });
    expect(wrong).toEqual([]);
  });

  it('resolves every relative import inside src/', () => {
    const outside = files.flatMap((file) =>
      file.imports.filter((i) => i.target?.startsWith('..')).map((i) => `src/${file.path} imports ${i.specifier}`),
    );
    expect(outside).toEqual([]);
  });

  it('keeps Node out of everything but cli/ and *-node.ts', () => {
    const modules = files
      .filter((file) => !mayUseNode(file.path))
      .flatMap((file) =>
        file.imports
          .filter((i) => i.specifier.startsWith('node:') || (i.target !== null && nodeFiles.has(i.target)))
          .map((i) => `src/${file.path} imports ${i.specifier}`),
      );
    const globals = findings((file, node) =>
      !mayUseNode(file.path) && isFreeGlobal(node) ? `uses the Node global ${node.text}` : null,
    );
    expect([...modules, ...globals]).toEqual([]);
  });

  it('has no import cycles', () => {
    expect(findCycles()).toEqual([]);
  });

  it('uses no `any`', () => {
    expect(findings((_, node) => (node.kind === ts.SyntaxKind.AnyKeyword ? 'says any' : null))).toEqual([]);
  });

  it('has no default exports', () => {
    const isDefault = (node: ts.Node): boolean =>
      ts.isExportAssignment(node) ||
      (ts.isExportSpecifier(node) && node.name.text === 'default') ||
      node.kind === ts.SyntaxKind.DefaultKeyword;
    const wrong = findings((_, node) =>
      isDefault(node) && !ts.isDefaultClause(node.parent) ? 'exports by default' : null,
    );
    expect(wrong).toEqual([]);
  });

  it('opens every file with a comment that says what it is', () => {
    const bare = files.filter((f) => !/^(#!.*\n)?\s*(\/\/|\/\*)/.test(f.tree.text)).map((f) => `src/${f.path}`);
    expect(bare).toEqual([]);
  });

  /** The values a discriminated union's tag can have. */
  const tagsOf = (path: string, union: string, tag: string): readonly string[] => {
    const found: string[] = [];
    const tree = files.find((f) => f.path === path)?.tree as ts.SourceFile;
    const members = (node: ts.Node): void => {
      if (ts.isPropertySignature(node) && node.name.getText() === tag && node.type)
        found.push(...literalsOf(node.type));
      else ts.forEachChild(node, members);
    };
    for (const node of tree.statements)
      if (ts.isTypeAliasDeclaration(node) && node.name.text === union) members(node.type);
    return [...new Set(found)];
  };

  const literalsOf = (type: ts.TypeNode): readonly string[] => {
    if (ts.isUnionTypeNode(type)) return type.types.flatMap(literalsOf);
    return ts.isLiteralTypeNode(type) && ts.isStringLiteral(type.literal) ? [type.literal.text] : [];
  };

  it('has 13 tensor primitives and 11 kernel statements: one more is a decision (docs/decisions/)', () => {
    const primitives = 'const generic view concat scatter scan while if call kernel state_read state_write dim';
    expect(tagsOf('ir/tensor.ts', 'Payload', 'kind')).toEqual(primitives.split(' '));
    const statements = 'for while if break let set store atomic alloc barrier intrin';
    expect([...tagsOf('ir/kernel.ts', 'Stmt', 's')].sort()).toEqual(statements.split(' ').sort());
  });

  it('says what an operator is in few lines: the median record has under 15', () => {
    const sizes: number[] = [];
    for (const file of files)
      if (file.path.startsWith('frontend/ops/'))
        walk(file.tree, (node) => {
          if (!ts.isCallExpression(node) || node.expression.getText() !== 'op' || node.arguments.length !== 2) return;
          const line = (at: number): number => file.tree.getLineAndCharacterOfPosition(at).line;
          sizes.push(line(node.getEnd()) - line(node.getStart()) + 1);
        });
    expect(sizes.length).toBeGreaterThan(150);
    const median = sizes.sort((a, b) => a - b)[Math.floor(sizes.length / 2)];
    console.info(`${sizes.length} records, the median has ${median} lines`);
    expect(median).toBeLessThan(15);
  });

  /** Codes of the TFLite schema that stand for no operator of their own. */
  const CODES = ['', 'CUSTOM', 'DELEGATE', 'PLACEHOLDER_FOR_GREATER_OP_CODES'];
  const operators = new Set([
    ...ONNX_OPERATORS.map((o) => o.name),
    ...(ENUMS.BuiltinOperator as readonly string[]).filter((name) => !CODES.includes(name)),
  ]);
  /** An inlined function may give an input straight out, which takes a node to say so. */
  const EXCEPTION = /onnx\/functions\.ts:\d+ names Identity$/;

  it('names operators in their records only', () => {
    const named = findings((file, node) =>
      !file.path.startsWith('frontend/ops/') && ts.isStringLiteral(node) && operators.has(node.text)
        ? `names ${node.text}`
        : null,
    );
    expect(named.filter((where) => !EXCEPTION.test(where))).toEqual([]);
  });
});
