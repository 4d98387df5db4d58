/** Markdown to HTML: headings with anchors, links between pages, pictures, coloured code, formulas and places for live figures. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { dirname, extname, basename, join, relative } from "node:path";
import MarkdownIt from "markdown-it";
import { createHighlighter } from "shiki";
import { figureHtml } from "./figures.mjs";
import { math } from "./math.mjs";
import { hrefFrom, root, upFrom } from "./pages.mjs";

const LANGUAGES = ["ts", "js", "sh", "json", "html", "python", "cpp", "toml", "yaml"];
const THEMES = { light: "github-light-high-contrast", dark: "github-dark-high-contrast" };

const highlighter = await createHighlighter({ langs: LANGUAGES, themes: Object.values(THEMES) });

/** The two colours of a piece of code as a class: [light, dark] to its number, the same in all pages. */
const colours = new Map();

function coloured(code, language) {
  if (!LANGUAGES.includes(language)) return undefined;
  const html = highlighter.codeToHtml(code.trimEnd(), { lang: language, themes: THEMES, defaultColor: false, tabindex: false });
  return html.replace(/^<pre[^>]*>/, "").replace(/<\/pre>$/, "").replaceAll('<span class="line">', "<span>")
    .replaceAll(/ style="--shiki-light:(#\w+);--shiki-dark:(#\w+)(?:;[^"]*)?"/g, (_, light, dark) => {
      const key = `${light} ${dark}`.toLowerCase();
      if (!colours.has(key)) colours.set(key, colours.size);
      return ` class="k${colours.get(key)}"`;
    });
}

/** Names in coloured code that have a page lead there. */
function linked(html, page) {
  if (html === undefined || page.codeLink === undefined) return html;
  return html.replaceAll(/>([^<]+)</g, (_, text) => `>${text.replaceAll(/(?<![\w.&#"])[A-Z]\w+(?![\w"])/g, (name) => {
    const target = page.codeLink(name);
    if (target === undefined) return name;
    return `<a href="${target.path === page.path ? "" : hrefFrom(page.path, target.path)}#${target.anchor}">${name}</a>`;
  })}<`);
}

/** Rules for the colours of code that a page has. */
export function colourRules(html) {
  return [...colours].filter(([, number]) => html.includes(`class="k${number}"`))
    .map(([key, number]) => `.k${number}{color:light-dark(${key.replace(" ", ",")})}`).join("");
}

export const escapeHtml = (text) => text.replaceAll(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

/** Anchors as GitHub makes them, so that links work there too. */
function slug(text, taken) {
  const plain = text.toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, "").trim().replaceAll(/\s/g, "-") || "section";
  let id = plain;
  for (let n = 1; taken.has(id); n++) id = `${plain}-${n}`;
  taken.add(id);
  return id;
}

const textOf = (token) => (token.children ?? [])
  .map(({ type, content }) => (type === "softbreak" ? " " : type.startsWith("html") ? "" : content)).join("");

function makeParser(env) {
  const md = new MarkdownIt({ html: true, linkify: false });
  md.use(math);
  md.block.ruler.before("html_block", "live_figure", liveFigure, { alt: ["paragraph"] });
  md.renderer.rules.live_figure = (tokens, i) => `${figureHtml(tokens[i].meta.name, env)}<figcaption>`;
  md.renderer.rules.live_figure_end = () => "</figcaption></figure>\n";
  md.renderer.rules.fence = (tokens, i) => {
    const language = tokens[i].info.trim().split(/\s/)[0];
    const code = linked(coloured(tokens[i].content, language), env.page) ?? `<code>${escapeHtml(tokens[i].content.trimEnd())}</code>`;
    return `<div class="code"${language ? ` data-language="${language}"` : ""}><pre class="scrolls">${code}</pre></div>\n`;
  };
  md.renderer.rules.code_block = (tokens, i) =>
    `<div class="code"><pre class="scrolls"><code>${escapeHtml(tokens[i].content.trimEnd())}</code></pre></div>\n`;
  md.renderer.rules.table_open = () => '<div class="table scrolls"><table>\n';
  md.renderer.rules.table_close = () => "</table></div>\n";
  md.renderer.rules.heading_open = (tokens, i) => `<${tokens[i].tag} id="${tokens[i].attrGet("id")}">`;
  md.renderer.rules.heading_close = (tokens, i) => {
    const { tag } = tokens[i];
    const [open, inline] = tokens.slice(i - 2, i);
    return `<a class="anchor" href="#${open.attrGet("id")}" aria-label="Link to “${escapeHtml(textOf(inline))}”">#</a></${tag}>\n`;
  };
  md.core.ruler.push("page", (state) => page(state, env));
  return md;
}

/** `<Figure name="...">caption</Figure>` or `<Figure name="..." />`, alone in its lines. */
function liveFigure(state, startLine, endLine, silent) {
  const line = (n) => state.src.slice(state.bMarks[n] + state.tShift[n], state.eMarks[n]);
  const name = /^<Figure\s+name="([\w-]+)"\s*\/?>/.exec(line(startLine))?.[1];
  if (name === undefined) return false;
  let last = startLine;
  while (last < endLine && !/(\/>|<\/Figure>)\s*$/.test(line(last))) last++;
  if (last >= endLine) throw new Error(`<Figure name="${name}"> does not end`);
  if (silent) return true;
  const token = state.push("live_figure", "figure", 0);
  token.block = true;
  token.meta = { name };
  token.map = [startLine, last + 1];
  const caption = state.push("inline", "", 0);
  caption.content = Array.from({ length: last - startLine + 1 }, (_, i) => line(startLine + i)).join("\n")
    .replace(/^<Figure[^>]*>/, "").replace(/<\/Figure>\s*$/, "").trim();
  caption.children = [];
  caption.map = token.map;
  state.push("live_figure_end", "figure", 0);
  state.line = last + 1;
  return true;
}

/** The anchor that a heading says it has, `## Tensor {#Tensor}`; that is taken out of it. */
function ownAnchor(inline) {
  const last = inline.children.at(-1);
  const match = last?.type === "text" ? /\s*\{#([\w-]+)\}$/.exec(last.content) : null;
  if (match === null) return undefined;
  last.content = last.content.slice(0, match.index);
  return match[1];
}

/** Gives headings their anchors, links and pictures their addresses, and collects what search and the table of contents need. */
function page({ tokens }, env) {
  const taken = new Set(["content"]);
  let section = { id: "", title: env.page.title, text: [] };
  env.sections.push(section);
  for (const [i, token] of tokens.entries()) {
    if (token.type === "heading_open") {
      const own = ownAnchor(tokens[i + 1]);
      const title = textOf(tokens[i + 1]);
      const id = own ?? slug(title, taken);
      token.attrSet("id", id);
      env.headings.push({ level: Number(token.tag[1]), id, title });
      section = { id, title, text: [] };
      env.sections.push(section);
    } else if (token.type === "inline" && tokens[i - 1].type !== "heading_open") section.text.push(textOf(token));
    else if (token.type === "fence" && env.page.codeLink === undefined) section.text.push(token.content);
    else if (token.type === "html_block") token.content = token.content.replaceAll(/<!--[\s\S]*?-->\n?/g, "");
    if (token.type === "inline") inlineOf(token, env);
    if (token.type === "math_block" || token.children?.some(({ type }) => type === "math_inline")) env.math = true;
  }
}

function inlineOf(token, env) {
  const open = [];
  for (const child of token.children) {
    if (child.type === "link_open") {
      const address = addressOf(child.attrGet("href"), env);
      open.push(child);
      if (address !== undefined) child.attrSet("href", address);
      else {
        const attrs = [["class", "in-repository"], ["title", `In the repository: ${child.attrGet("href")}`]];
        Object.assign(child, { tag: "span", attrs });
      }
    } else if (child.type === "link_close") child.tag = open.pop().tag;
    else if (child.type === "image") child.attrSet("src", pictureOf(child.attrGet("src"), env));
    else if (child.type === "html_inline") child.content = child.content.replaceAll(/<!--[\s\S]*?-->/g, "");
  }
}

/** Where a link leads from this page; undefined for a file of the repository that is no page. */
function addressOf(href, { page, pageOfFile, problem }) {
  if (/^(https?:|mailto:|#)/.test(href)) return href;
  const [path, anchor] = href.split("#");
  const file = join(dirname(page.base), decodeURIComponent(path));
  const target = pageOfFile(file);
  if (target) return hrefFrom(page.path, target) + (anchor === undefined ? "" : `#${anchor}`);
  if (!existsSync(file)) problem(`${relative(root, page.base)}: the link to ${href} leads nowhere`);
  return undefined;
}

/** A picture is copied into the site under a name that changes with its content. */
function pictureOf(src, { page, pictures, problem }) {
  if (/^(https?|data):/.test(src)) {
    problem(`${relative(root, page.base)}: the picture ${src.slice(0, 60)} lies elsewhere; pictures lie in the repository`);
    return src;
  }
  const file = join(dirname(page.base), decodeURIComponent(src));
  if (!existsSync(file)) {
    problem(`${relative(root, page.base)}: there is no picture ${src}`);
    return src;
  }
  const content = readFileSync(file);
  const name = `${basename(file, extname(file))}-${createHash("sha256").update(content).digest("hex").slice(0, 8)}${extname(file)}`;
  pictures.set(name, file);
  return `${upFrom(page.path)}assets/${name}`;
}

/** A header without a word is none: tables without one, and the cell above the names of rows. */
const withoutEmptyHeaders = (html) => html.replaceAll(/<thead>\s*<tr>(\s*<th[^>]*><\/th>)+\s*<\/tr>\s*<\/thead>\n?/g, "")
  .replaceAll(/<th([^>]*)><\/th>/g, "<td$1></td>");

/** Cells that are not squeezed to a word, or a part of a range as `(1.60 to 2.12)`, in each line: a table that is too wide scrolls. */
const withReadableCells = (html) => html.replaceAll(/<td([^>]*)>([^]*?)<\/td>/g, (_, attributes, text) =>
  `<td${attributes}${text.length > 40 ? ' class="long"' : ""}>${text.replaceAll(/(\d) to (?=\d)/g, "$1&nbsp;to&nbsp;")}</td>`);

/**
 * A page as HTML: { html, headings, sections, math }. `context` has pageOfFile(file) -> path of the page that a file of the repository has
 * become, pictures (a map to fill), problem(text), and figures (see figures.mjs).
 */
export function render(page, context) {
  const env = { ...context, page, headings: [], sections: [], math: false };
  const html = withReadableCells(withoutEmptyHeaders(makeParser(env).render(page.text, env)));
  return { html, headings: env.headings, sections: env.sections, math: env.math };
}
