/**
 * The pages of the site: Markdown files in the folders of the sections, and what is made of the sources. A page is
 * { path: "ideas/gca.html", file, base, text, title, nav, description, section, order }: `file` is its Markdown, `base` the file that
 * its links are relative to (another one where the page's text is a file of the repository: `source` in its front matter).
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

export const docs = fileURLToPath(new URL("..", import.meta.url));
export const root = join(docs, "../..");

/** The sections in the order in which they are read. */
export const SECTIONS = [
  { folder: "start", title: "Start here" },
  { folder: "ideas", title: "Ideas" },
  { folder: "guides", title: "Guides" },
  { folder: "reference", title: "Reference" },
  { folder: "results", title: "Results" },
  { folder: "design", title: "Design" },
];

const FIELDS = ["title", "nav", "description", "order", "source"];

/** The front matter of a page, `key: value` a line, and what stands behind it. */
function frontMatterOf(text, file) {
  const match = /^---\n([\s\S]*?)\n---\n/.exec(text);
  const fields = {};
  for (const line of match?.[1].split("\n") ?? []) {
    const [, key, value] = /^(\w+): *(.*?) *$/.exec(line) ?? [];
    if (!FIELDS.includes(key)) throw new Error(`${relative(root, file)}: front matter takes ${FIELDS.join(", ")}, not "${line}"`);
    fields[key] = value;
  }
  return { fields, body: match ? text.slice(match[0].length) : text };
}

/** The text of a page with its front matter. */
export const pageText = (fields, body) =>
  `---\n${Object.entries(fields).map(([key, value]) => `${key}: ${value}\n`).join("")}---\n${body}`;

/** The text without its first heading, and that heading. */
function splitTitle(text) {
  const match = /^\s*(?:<!--[^>]*-->\s*)*# +(.+)\n/.exec(text);
  return match ? { title: match[1].trim(), rest: text.slice(match[0].length) } : { rest: text };
}

/** A page from its Markdown; `made` is its text where there is no file with it. */
function pageOf(path, file, made) {
  const { fields, body } = frontMatterOf(made ?? readFileSync(file, "utf8"), file);
  const base = fields.source === undefined ? file : join(root, fields.source);
  if (!existsSync(base) && made === undefined) throw new Error(`${relative(root, file)}: there is no file ${fields.source}`);
  const { title, rest } = splitTitle(fields.source === undefined ? body : `${readFileSync(base, "utf8")}\n${body}`);
  const name = fields.title ?? title;
  if (name === undefined) throw new Error(`${relative(root, file)}: a page begins with a heading, "# ..."`);
  const plain = name.replaceAll("`", "");
  return {
    path, file, base, text: rest, title: plain, nav: fields.nav ?? plain, description: fields.description ?? "",
    section: path.includes("/") ? path.split("/")[0] : undefined, order: Number(fields.order ?? 100),
  };
}

function* markdownIn(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* markdownIn(path);
    else if (entry.name.endsWith(".md")) yield path;
  }
}

/** Every Markdown file that is a page. */
export function markdownFiles() {
  return [join(docs, "index.md"), ...SECTIONS.map(({ folder }) => join(docs, folder)).filter(existsSync)
    .flatMap((folder) => [...markdownIn(folder)])].sort((a, b) => (a < b ? -1 : 1));
}

/** All pages in their order; `made` are those that other modules make: [{ path, text, base }]. */
export function allPages(made = []) {
  const pages = markdownFiles().map((file) => pageOf(relative(docs, file).replaceAll("\\", "/").replace(/\.md$/, ".html"), file));
  for (const { path, text, codeLink } of made) {
    pages.push({ ...pageOf(path, join(docs, path.replace(/\.html$/, ".md")), text), codeLink });
  }
  const rank = (page) => SECTIONS.findIndex(({ folder }) => folder === page.section);
  return pages.sort((a, b) => rank(a) - rank(b) || inSection(a, b, pages));
}

const folderOf = (path) => path.slice(0, path.lastIndexOf("/") + 1);
const isIndex = ({ path }) => /(^|\/)index\.html$/.test(path);

/** Folders stand where their index stands, and hold their pages behind it. */
function inSection(a, b, pages) {
  const indexOf = ({ path: inside }) => pages.find(({ path }) => path === `${folderOf(inside)}index.html`);
  const standIn = (page) => (page.path.split("/").length > 2 ? indexOf(page) : page);
  const [x, y] = [standIn(a), standIn(b)];
  const compare = (p, q) => p.order - q.order || p.nav.localeCompare(q.nav, "en");
  const isFirst = (page) => isIndex(page) && page.path.split("/").length === 2;
  if (x !== y) return isFirst(y) - isFirst(x) || compare(x, y);
  return isIndex(b) - isIndex(a) || compare(a, b);
}

/** How a page's links reach the site's own folder: "" or "../". */
export const upFrom = (path) => "../".repeat(path.split("/").length - 1);

/** The address of one page seen from another. */
export function hrefFrom(from, to) {
  return relative(dirname(from), to).replaceAll("\\", "/") || to.split("/").at(-1);
}
