/** A page for each command, made of what its `--help` says. Needs the built command line. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { pageText, root } from "../pages.mjs";

function helpOf(...args) {
  const command = join(root, "packages/cli/bin/lenggen.js");
  const { status, stdout, stderr } = spawnSync(process.execPath, [command, ...args, "--help"], { encoding: "utf8" });
  if (status !== 0) throw new Error(`lenggen ${args.join(" ")} --help: ${stderr}`);
  return stdout;
}

/** Help as { usage, summary, sections: [{ title, lines }] }: a section is what stands below a line "Title:". */
function parseHelp(help) {
  const [usage, ...rest] = help.split("\n");
  const sections = [];
  const summary = [];
  for (const line of rest) {
    if (/^\S.*:$/.test(line)) sections.push({ title: line.slice(0, -1), lines: [] });
    else if (sections.length > 0 && line.startsWith(" ")) sections.at(-1).lines.push(line);
    else if (sections.length === 0 && line.trim() !== "") summary.push(line.trim());
  }
  return { usage: usage.replace(/^Usage: /, ""), summary: summary.join(" "), sections };
}

/** Commander's two columns, [{ term, text }]: texts go on below themselves. */
function columnsOf(lines) {
  const rows = [];
  for (const line of lines) {
    const match = /^ {2}(\S.*?)(?: {2,}(.*))?$/.exec(line);
    if (match) rows.push({ term: match[1], text: match[2] ?? "" });
    else rows.at(-1).text = `${rows.at(-1).text} ${line.trim()}`.trim();
  }
  return rows;
}

const escaped = (text) => text.replaceAll(/[<*_$|]/g, (c) => (c === "<" ? "&lt;" : `\\${c}`));

function table({ title, lines }) {
  const head = title === "Options" ? "| option | what it does |" : "| argument | what it is |";
  const rows = columnsOf(lines).filter(({ term }) => !term.startsWith("-h,"))
    .map(({ term, text }) => `| \`${term.replaceAll("|", "\\|")}\` | ${escaped(text)} |`);
  return `## ${title}\n\n<div class="options">\n\n${head}\n|---|---|\n${rows.join("\n")}\n\n</div>\n`;
}

function examples({ title, lines }) {
  const code = lines.map((line) => line.slice(2)).join("\n");
  return `## ${title}\n\n\`\`\`sh\n${code}\n\`\`\`\n`;
}

/** Our own lists, by their indents: a line is `term: text`, `setting=default  text`, or whatever it is. */
function list({ title, lines }) {
  const item = (line) => {
    const indent = /^ */.exec(line)[0];
    const [, term, text] = /^([^:\s]+(?:, [^:\s]+)*)(?:: | {2}|:?$)(.*)$/.exec(line.trim()) ?? [undefined, "", line.trim()];
    const terms = term.split(", ").filter(Boolean).map((one) => `\`${one}\``).join(", ");
    return `${indent.slice(2)}- ${[terms, escaped(text)].filter(Boolean).join(": ")}`;
  };
  return `## ${title}\n\n${lines.map(item).join("\n")}\n`;
}

const SECTIONS = { Arguments: table, Options: table, "For example": examples };

function commandPage({ name, text }, order) {
  const { usage, summary, sections } = parseHelp(helpOf(name));
  const body = sections.map((section) => (SECTIONS[section.title] ?? list)(section)).join("\n");
  return {
    path: `reference/command/${name}.html`,
    text: pageText({ nav: `lenggen ${name}`, order, description: text },
      `# lenggen ${name}\n\n${escaped(summary)}\n\n\`\`\`\n${usage}\n\`\`\`\n\n${body}`),
  };
}

/** [{ path, text }]: an overview and a page for each command. */
export function commandPages() {
  const { summary, sections } = parseHelp(helpOf());
  const commands = columnsOf(sections.find(({ title }) => title === "Commands").lines)
    .map(({ term, text }) => ({ name: term.split(" ")[0], text })).filter(({ name }) => name !== "help");
  const rows = commands.map(({ name, text }) => `| [\`${name}\`](${name}.md) | ${escaped(text)} |`);
  const overview = pageText({ nav: "The lenggen command", order: 30, description: "Every command and option of the command line." },
    `# The lenggen command

${escaped(summary)} This page and those of the commands are what \`lenggen --help\` and \`lenggen COMMAND --help\` say.

| command | what it does |
|---|---|
${rows.join("\n")}

Every command takes \`--device\`, \`--threads\`, \`--seed\` and \`--json\`. Exit codes are 0 (done), 1 (failed), 2 (wrong usage) and 130
(interrupted); errors are one line on stderr, with [a code](../errors.md). It reads [environment variables](../environment.md), and writes
[files and JSON](../formats.md).
`);
  return [{ path: "reference/command/index.html", text: overview }, ...commands.map(commandPage)];
}
