/**
 * What the packages export: each name with its declaration as users get it (dist/*.d.ts, so that packages are built first), its docstring
 * and its place in the sources.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import ts from "typescript";
import { packages, root } from "../../../../scripts/pack.mjs";

/** The entries of all packages: { room, entry: "@lenggen/kernels/nn", name: "nn", index, types }, the main one of each first. */
function entries() {
  return packages.flatMap((room) => {
    const folder = join(root, "packages", room);
    const { name, exports } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const keys = Object.keys(exports).filter((key) => !key.endsWith(".json")).sort((a, b) => (a < b ? -1 : 1));
    return keys.map((key) => ({
      room, entry: name + key.slice(1), name: key.slice(2) || "main", index: join(folder, "src", key, "index.ts"),
      types: join(folder, exports[key].types),
    }));
  });
}

const withoutStars = (comment) => comment.replace(/^\/\*\*\s?/, "").replace(/\s*\*\/$/, "").replaceAll(/^[ \t]*\* ?/gm, "").trim();

/** The docstring that stands right before a node; what is told of a whole file is followed by an empty line. */
function docOf(text, node, source) {
  const comment = (ts.getLeadingCommentRanges(text, node.pos) ?? []).at(-1);
  if (comment === undefined || !text.startsWith("/**", comment.pos)) return "";
  if (/\n\s*\n/.test(text.slice(comment.end, node.getStart(source)))) return "";
  return withoutStars(text.slice(comment.pos, comment.end));
}

const namesOf = (statement) => ts.isVariableStatement(statement) ? statement.declarationList.declarations.map(({ name }) => name.text)
  : statement.name ? [statement.name.text] : [];

const KINDS = [[ts.isFunctionDeclaration, "function"], [ts.isClassDeclaration, "class"], [ts.isInterfaceDeclaration, "interface"],
  [ts.isTypeAliasDeclaration, "type"], [ts.isVariableStatement, "constant"]];

/** Columns that a declaration has on a page beside navigation and contents. */
const WIDE = 72;

/** The places in `text` that stand outside of brackets, and hold `what`. */
function* outside(text, what) {
  let depth = 0;
  for (const [i, c] of [...text].entries()) {
    if ("([{<".includes(c)) depth++;
    else if (")]}".includes(c) || c === ">" && text[i - 1] !== "=") depth--;
    else if (c === what && depth === 0) yield i;
  }
}

/** A function's declaration with a parameter a line where one line is too long. */
function wrapped(code) {
  const open = code.indexOf("(");
  if (code.length <= WIDE || code.includes("\n") || open === -1) return code;
  let close = open;
  for (let depth = 0; close < code.length; close++) {
    if (code[close] === "(") depth++;
    else if (code[close] === ")" && --depth === 0) break;
  }
  const inside = code.slice(open + 1, close);
  const cuts = [0, ...[...outside(inside, ",")].map((at) => at + 1), inside.length];
  const parameters = cuts.slice(1).map((to, i) => `  ${inside.slice(cuts[i], to).trim().replace(/,$/, "")},\n`);
  return `${code.slice(0, open + 1)}\n${parameters.join("")}${code.slice(close)}`;
}

/** A declaration as it is read: without what is private, and without the bundler's names of namespaces and of doubles. */
function codeOf(statement, source) {
  const code = statement.getText(source).replace(/^(export )?(declare )?/, "")
    .replaceAll(/^ +(?:\/\*\*(?:[^*]|\*(?!\/))*\*\/\s*)?(?:#private|private [^;]*);\n/gm, "")
    .replaceAll(/\b_lenggen_\w+\.|\$\d+\b/g, "").replaceAll(/^( {4})+/gm, (spaces) => spaces.slice(spaces.length / 2));
  return ts.isFunctionDeclaration(statement) ? wrapped(code) : code;
}

const statementOf = (node) => (ts.isSourceFile(node.parent) ? node : statementOf(node.parent));

/** The groups of an index file: the comment `// Group` that stands before exports, by exported name, in their order. */
function groupsOf(file) {
  const text = readFileSync(file, "utf8");
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.ES2022, true);
  const groups = new Map();
  const modules = new Map();
  let group;
  for (const statement of source.statements) {
    const comments = (ts.getLeadingCommentRanges(text, statement.pos) ?? []).map(({ pos, end }) => text.slice(pos, end));
    group = comments.findLast((comment) => comment.startsWith("// "))?.slice(3) ?? group;
    const names = statement.exportClause?.elements?.map(({ name }) => name.text) ?? namesOf(statement);
    for (const name of names) groups.set(name, group);
    if (statement.moduleSpecifier?.text.startsWith(".")) for (const name of names) modules.set(name, statement.moduleSpecifier.text);
  }
  const comments = (ts.getLeadingCommentRanges(text, 0) ?? []).map(({ pos, end }) => text.slice(pos, end));
  const intro = comments.find((comment) => comment.startsWith("/**"));
  return { groups, modules, intro: intro === undefined ? "" : withoutStars(intro) };
}

function* sourcesIn(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sourcesIn(path);
    else if (entry.name.endsWith(".ts") && !/\.(test|fixture|browser)\.ts$/.test(entry.name)) yield path;
  }
}

/** Where each name is declared in a package's sources: [{ file, line }]. */
function placesIn(room) {
  const places = new Map();
  for (const file of sourcesIn(join(root, "packages", room, "src"))) {
    for (const [i, line] of readFileSync(file, "utf8").split("\n").entries()) {
      const name = /^export (?:declare )?(?:abstract )?(?:async )?(?:function\*?|class|interface|type|const|let) (\w+)/.exec(line)?.[1];
      if (name !== undefined) places.set(name, [...(places.get(name) ?? []), { file: relative(root, file), line: i + 1 }]);
    }
  }
  return places;
}

/** Of several declarations of one name that which is nearest to the module that the index exports it from. */
function nearest(places = [], module) {
  const wanted = (module ?? "").replace(/^\.+\//, "");
  return places.find(({ file }) => file.endsWith(`/src/${wanted}.ts`)) ?? places.find(({ file }) => file.includes(`/src/${wanted}/`))
    ?? places[0];
}

/**
 * [{ room, entry, name, intro, exports: [{ name, group, kind, code, doc, place }] }], in the order of the index files. What an entry
 * passes on from another package has `from` in the place of all but its name.
 */
export function readApi() {
  const all = entries();
  for (const { types } of all) if (!existsSync(types)) throw new Error(`${relative(root, types)} is missing: npx turbo run build`);
  const program = ts.createProgram(all.map(({ types }) => types), {
    module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, target: ts.ScriptTarget.ES2022, skipLibCheck: true,
    noLib: true, types: [],
  });
  const checker = program.getTypeChecker();
  const places = new Map(packages.map((room) => [room, placesIn(room)]));
  const exportOf = (symbol, room, module) => {
    const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
    const [first] = target.declarations ?? [];
    const owner = /packages\/([a-z]+)\/dist/.exec(first?.getSourceFile().fileName.replaceAll("\\", "/"))?.[1];
    const declared = target.name.replace(/\$\d+$/, "");
    if (owner !== room) return { name: symbol.name, from: owner && { room: owner, name: declared } };
    const statements = [...new Set(target.declarations.map(statementOf))];
    const source = first.getSourceFile();
    return {
      name: symbol.name, place: nearest(places.get(room).get(declared), module),
      kind: KINDS.find(([is]) => is(statements[0]))?.[1],
      code: statements.map((statement) => codeOf(statement, source)).join("\n"),
      doc: statements.map((statement) => docOf(source.text, statement, source)).find(Boolean) ?? "",
    };
  };
  return all.map(({ room, entry, name, index, types }) => {
    const { groups, modules, intro } = groupsOf(index);
    const order = [...groups.keys()];
    const at = ({ name }) => (order.includes(name) ? order.indexOf(name) : order.length);
    const exports = checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(types)))
      .map((symbol) => ({ ...exportOf(symbol, room, modules.get(symbol.name)), group: groups.get(symbol.name) }));
    return { room, entry, name, intro, exports: exports.sort((a, b) => at(a) - at(b) || (a.name < b.name ? -1 : 1)) };
  });
}
