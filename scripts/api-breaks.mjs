/**
 * What a program that was written against one API report may miss in another: exports that are gone, and declarations that changed so
 * that the new one can't stand where the old one stood. Whether it can is asked of TypeScript, on a module in which both stand side by
 * side: a function with one more optional parameter, or options with one more optional field, break nothing.
 */
import { join } from "node:path";
import ts from "typescript";

const BEFORE = "__before";
const OPTIONS = {
  target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, strict: true,
  noEmit: true, skipLibCheck: true, lib: ["lib.es2023.d.ts", "lib.esnext.disposable.d.ts", "lib.dom.d.ts"],
  types: ["node", "@webgpu/types"],
};

/** The TypeScript in a report. */
export const codeOf = (report) => /```ts\n([\s\S]*?)```/.exec(report)?.[1] ?? "";

/** The declarations of a report by name: { nodes, text, exported }. Comments are not part of the text. */
function declarationsOf(report) {
  const file = ts.createSourceFile("report.d.ts", codeOf(report), ts.ScriptTarget.ES2022, true);
  const printer = ts.createPrinter({ removeComments: true });
  const found = new Map();
  for (const node of file.statements) {
    const names = ts.isVariableStatement(node) ? node.declarationList.declarations.map(({ name }) => name.text)
      : ts.isExportDeclaration(node) ? (node.exportClause?.elements ?? []).map(({ name }) => name.text) : node.name ? [node.name.text] : [];
    const exported = ts.isExportDeclaration(node) || ts.getCombinedModifierFlags(node) & ts.ModifierFlags.Export;
    for (const name of names) {
      const entry = found.get(name) ?? { nodes: [], text: "", exported: false };
      entry.nodes.push(node);
      entry.text += `${printer.printNode(ts.EmitHint.Unspecified, node, file)}\n`;
      entry.exported ||= Boolean(exported);
      found.set(name, entry);
    }
  }
  return found;
}

/** Declarations of a report as a module with code may have them. */
const ambient = (text) => text.replaceAll(/^(export )?(?=(?:function|class|abstract class|const|let|enum) )/gm, "$1declare ");

/** A declaration's text with `name` in the place of its own, and what asks whether the new one can stand where it stood. */
function question(name, { nodes, text }) {
  const [node] = nodes;
  const old = `${name}${BEFORE}`;
  const pattern = new RegExp(`\\b(function|class|interface|type|enum|const|let) ${name.replaceAll("$", "\\$")}(?![\\w$])`, "g");
  const declared = ambient(text.replaceAll(pattern, `$1 ${old}`));
  if (ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) {
    const given = node.typeParameters ? `<${node.typeParameters.map(() => "any").join(", ")}>` : "";
    // In results the new one stands where the old one did, in arguments the old one where the new one does; an optional field that is gone
    // is seen by the names of fields alone.
    return `${declared}{ (now: ${name}${given}): ${old}${given} => now; (was: ${old}${given}): ${name}${given} => was;
      (field: keyof ${old}${given}): keyof ${name}${given} => field; }\n`;
  }
  // A parameter that is gone is seen by the list of them alone, as functions may leave out what they are given.
  return `${declared}{ const was: typeof ${old} = ${name};
    (given: Arguments${BEFORE}<typeof ${old}>): Arguments${BEFORE}<typeof ${name}> => given; }\n`;
}

/** What was parsed before, by its path: the declarations of the language, of Node and of packages. */
const parsed = new Map();

/** TypeScript's complaints about a module whose text is `code`, as if it stood in `folder`: { message, start }. */
function complaints(code, folder) {
  const name = join(folder, "api-breaks.ts");
  const host = ts.createCompilerHost(OPTIONS);
  const { getSourceFile, fileExists, readFile } = host;
  host.getSourceFile = (file, ...rest) => {
    if (file === name) return ts.createSourceFile(file, code, ts.ScriptTarget.ES2022, true);
    if (!parsed.has(file)) parsed.set(file, getSourceFile.call(host, file, ...rest));
    return parsed.get(file);
  };
  host.fileExists = (file) => file === name || fileExists.call(host, file);
  host.readFile = (file) => file === name ? code : readFile.call(host, file);
  const program = ts.createProgram([name], OPTIONS, host);
  return program.getSemanticDiagnostics(program.getSourceFile(name))
    .map(({ messageText, start }) => ({ start, message: ts.flattenDiagnosticMessageText(messageText, " ").slice(0, 500) }));
}

/** What breaks between two reports on one entry of a package in `folder`, a line each. */
export function breaksBetween(before, after, folder) {
  const [old, now] = [before, after].map(declarationsOf);
  const gone = [...old].filter(([name, { exported }]) => exported && !now.get(name)?.exported).map(([name]) => `${name} is gone`);
  const changed = [...old].filter(([name, { text }]) => now.has(name) && now.get(name).text !== text);
  if (changed.length === 0) return gone;
  const marked = changed.filter(([, { nodes }]) => !ts.isExportDeclaration(nodes[0]));
  let code = `${ambient(codeOf(after))}\nexport {};\n`
    + `type Arguments${BEFORE}<F> = F extends (...given: infer A) => unknown ? A : never;\n`;
  const places = marked.map(([name, entry]) => {
    const start = code.length;
    code += question(name, entry);
    return { name, start, end: code.length };
  });
  const found = complaints(code, folder);
  return [...gone, ...places.flatMap(({ name, start, end }) => found.filter((one) => one.start >= start && one.start < end).slice(0, 1)
    .map(({ message }) => `${name} changed: ${message}`))];
}
