/**
 * Writes a C++ header for each family in src/families.ts: build/signatures/<family>.h, with a struct for each kernel that holds its
 * arguments by name, and the table by which native/cpu/signature.cpp checks a launch. src/signature.ts says what is declared how.
 */
import { build } from "esbuild";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));

/** The declarations, and the functions that read them. */
async function load() {
  const { outputFiles } = await build({
    stdin: { contents: 'export { FAMILIES } from "./src/families"; export { tensorForm, isList } from "./src/signature";',
      resolveDir: PACKAGE },
    bundle: true, write: false, format: "esm", platform: "neutral", target: "es2022", logLevel: "error", treeShaking: true,
    external: ["node:*", "webgpu"],
  });
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].text).toString("base64")}`);
}

/** Writes the headers that have changed; returns the folder to include from. */
export async function writeSignatures() {
  const { FAMILIES, tensorForm, isList } = await load();
  const folder = join(PACKAGE, "build/signatures");
  mkdirSync(folder, { recursive: true });
  const headers = Object.fromEntries(Object.entries(FAMILIES)
    .map(([family, kernels]) => [`${family}.h`, headerOf(family, kernels, { tensorForm, isList })]));
  for (const file of readdirSync(folder)) if (!(file in headers)) rmSync(join(folder, file));
  for (const [file, text] of Object.entries(headers)) {
    const path = join(folder, file);
    if (!existsSync(path) || readFileSync(path, "utf8") !== text) writeFileSync(path, text);
  }
  return join(PACKAGE, "build");
}

function headerOf(family, kernels, read) {
  const structs = Object.entries(kernels).map(([name, signature]) => structOf(name, signature, read));
  return `// Made from src/ops/${family}.ts by scripts/signatures.mjs.
#pragma once
#include "signature.h"

namespace lenggen {

${structs.join("\n")}
}  // namespace lenggen
`;
}

const capital = (name) => name[0].toUpperCase() + name.slice(1);

/** How each kind of number is read, and as what. */
const NUMBERS = {
  size: { type: "int64_t", read: "size" },
  int: { type: "int64_t", read: "whole" },
  real: { type: "float", read: "real" },
  number: { type: "double", read: "number" },
  flag: { type: "bool", read: "flag" },
};

/** Fields in the order in which they are read, and rows of the two tables. */
function structOf(kernel, signature, { tensorForm, isList }) {
  const place = `kernel ${kernel}`;
  const numbers = Object.entries(signature.numbers);
  const lists = numbers.filter(([, kind]) => isList(kind));
  if (lists.length > 1 || (lists.length === 1 && numbers.at(-1)[0] !== lists[0][0]))
    throw new Error(`${place}: a list of numbers must be the only one, and stand last`);
  const tensors = ["reads", "saved", "writes", "saves"].flatMap((part) => Object.entries(signature[part] ?? {}).map(([name, text]) => ({
    name, text, ...tensorForm(text), writable: part === "writes" || part === "saves", ...(part === "saves" ? { optional: true } : {}),
  })));
  const ordered = [...tensors.filter(({ list }) => !list), ...tensors.filter(({ list }) => list)];
  const enums = [];
  const fields = [];
  for (const [name, kind] of numbers) {
    if (Array.isArray(kind)) {
      enums.push(`  enum class ${capital(name)} { ${kind.join(", ")} };`);
      fields.push({ type: capital(name), name, from: `static_cast<${capital(name)}>(from.whole())` });
    } else if (isList(kind)) fields.push({ type: "Numbers", name, from: "from.rest()" });
    else fields.push({ type: NUMBERS[kind].type, name, from: `from.${NUMBERS[kind].read}()` });
  }
  for (const { name, type, sizes, list, writable } of ordered) {
    const element = `${writable ? "" : "const "}${type === "i32" ? "int32_t" : "float"}`;
    const plain = type === "weight" || type === "any" ? "Buffer" : sizes ? `${element}*` : `Span<${element}>`;
    fields.push({ type: list ? `List<${plain}>` : plain, name, from: list ? `from.list<${plain}>()` : `from.tensor<${plain}>()`,
      text: textOf(signature, name) });
  }
  const index = new Map(numbers.map(([name], i) => [name, i]));
  const term = (word) => {
    if (typeof word === "number") return `{-1, ${word}}`;
    if (!index.has(word)) throw new Error(`${place}: a tensor's size is ${word}, which is none of its numbers`);
    return `{${index.get(word)}, 0}`;
  };
  const size = ({ left, sign, right }) => (sign === undefined ? `{${term(left)}}` : `{${term(left)}, '${sign}', ${term(right)}}`);
  const name = `${capital(kernel)}Args`;
  const kindRow = ([number, kind]) => (Array.isArray(kind) ? `{"${number}", NumberKind::choice, ${kind.length}}`
    : `{"${number}", NumberKind::${kind === "int" ? "integer" : kind.replace("?", "")}}`);
  const tensorRow = ({ name: tensor, type, sizes, optional, list }) =>
    `{"${tensor}", "${textOf(signature, tensor)}", TensorType::${type}, ${optional}, ${list}, ${sizes ? sizes.length : -1}, `
      + `{${(sizes ?? []).map(size).join(", ")}}}`;
  return `struct ${name} {
${[...enums, ...fields.map((field) => `  ${field.type} ${field.name};${field.text ? `  // ${field.text}` : ""}`)].join("\n")}

  explicit ${name}(const Launch& launch) : ${name}(Reader(launch, signature())) {}
  static const Signature& signature() {
    static constexpr NumberRow numbers[] = {${[...numbers.map(kindRow), "{nullptr, NumberKind::size}"].join(", ")}};
    static constexpr TensorRow tensors[] = {
${[...ordered.map(tensorRow), "{nullptr, nullptr, TensorType::any, false, false, -1, {}}"].map((row) => `        ${row},`).join("\n")}
    };
    static constexpr Signature all = {"${kernel}", numbers, ${numbers.length}, tensors, ${ordered.filter(({ list }) =>
      !list).length}, ${ordered.filter(({ list }) => list).length}};
    return all;
  }

 private:
  explicit ${name}(Reader from)
      : ${fields.map((field) => `${field.name}(${field.from})`).join(", ")} {}
};
`;
}

function textOf(signature, name) {
  return ["reads", "saved", "writes", "saves"].map((part) => signature[part]?.[name]).find((text) => text !== undefined);
}
