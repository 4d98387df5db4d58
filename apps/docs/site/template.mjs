/** A page's frame: header, navigation, table of contents, and what stands below. All addresses are relative to the page. */
import { colourRules, escapeHtml } from "./markdown.mjs";
import { hrefFrom, SECTIONS, upFrom } from "./pages.mjs";

const ICON = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32' fill='none' stroke-width='3' "
  + "stroke-linecap='round'%3E%3Cpath d='M4 24C12 24 14 22 18 14S24 6 28 5' stroke='%23777'/%3E%3Cpath d='M4 24C12 24 20 23 28 23' "
  + "stroke='%230067a8'/%3E%3C/svg%3E";

const icon = (shapes) => `<svg viewBox="0 0 20 20" aria-hidden="true">${shapes}</svg>`;
const ICONS = {
  find: icon('<circle cx="8.5" cy="8.5" r="5.5"/><path d="m13 13 4.5 4.5"/>'),
  theme: icon('<circle cx="10" cy="10" r="7"/><path class="half" d="M10 3a7 7 0 0 1 0 14z"/>'),
  menu: icon('<path d="M3 5h14M3 10h14M3 15h14"/>'),
};

/** Before the page is painted: the scheme that the reader chose, and that scripts run. */
const EARLY = 'document.documentElement.classList.add("js");try{const t=localStorage.getItem("lenggen-theme");'
  + "if(t)document.documentElement.dataset.theme=t}catch{}";

/** A page that lies deeper than its section, such as reference/kernels/ops.html, is shown where one of its folder is read. */
function isShown({ path }, page) {
  const folders = path.split("/").slice(0, -1);
  if (folders.length <= 1 || folders.length === 2 && path.endsWith("/index.html")) return true;
  return page.path.startsWith(`${folders.join("/")}/`);
}

function navigation(page, pages) {
  const isDeep = ({ path }) => path.split("/").length > 2 && !path.endsWith("/index.html");
  const item = (other) => `<li${isDeep(other) ? ' class="deep"' : ""}>`
    + `<a href="${hrefFrom(page.path, other.path)}"${other === page ? ' aria-current="page"' : ""}>`
    + `${escapeHtml(other.nav)}</a></li>`;
  return SECTIONS.map(({ folder, title }) => {
    const inside = pages.filter((other) => other.section === folder && isShown(other, page));
    if (inside.length === 0) return "";
    const open = page.section === folder || page.section === undefined && folder === "start";
    return `<details${open ? " open" : ""}><summary>${title}</summary><ul>${inside.map(item).join("")}</ul></details>`;
  }).join("\n");
}

function contents(headings) {
  const shown = headings.filter(({ level }) => level === 2 || level === 3);
  if (shown.length < 2) return "";
  return `<nav class="contents" aria-label="On this page"><p>On this page</p><ul>${shown.map(({ level, id, title }) =>
    `<li class="level-${level}"><a href="#${id}">${escapeHtml(title)}</a></li>`).join("")}</ul></nav>`;
}

function neighbours(page, pages) {
  const at = pages.indexOf(page);
  const link = (other, word, rel) => other
    ? `<a rel="${rel}" href="${hrefFrom(page.path, other.path)}"><small>${word}</small>${escapeHtml(other.nav)}</a>` : "<span></span>";
  return `<nav class="neighbours" aria-label="Before and after">`
    + `${link(pages[at - 1], "Before", "prev")}${link(pages[at + 1], "Next", "next")}</nav>`;
}

/** The whole document. `assets`: { style, script, search, index } by their names. */
export function document({ page, pages, rendered, assets }) {
  const up = upFrom(page.path);
  const title = page.section === undefined ? "lenggen: sequence models that hold beyond their training length" : `${page.title} – lenggen`;
  const rules = colourRules(rendered.html);
  const home = `${up}index.html`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(title)}</title>
${page.description && `<meta name="description" content="${escapeHtml(page.description)}">\n`}<link rel="icon" href="${ICON}">
<script>${EARLY}</script>
<link rel="stylesheet" href="${up}${assets.style}">
${rendered.math ? `<link rel="stylesheet" href="${up}${assets.math}">\n` : ""}${rules && `<style>${rules}</style>\n`}<script defer \
src="${up}${assets.script}" data-search="${up}${assets.search}" data-index="${up}${assets.index}" data-up="${up}"></script>
</head>
<body${page.section === undefined ? ' class="home"' : ""}>
<a class="skip" href="#content">Skip to the text</a>
<header class="top">
<a class="name" href="${home}">lenggen</a>
<div class="tools">
<button type="button" class="find" aria-keyshortcuts="/ Control+K">${ICONS.find}<span>Search</span><kbd aria-hidden="true">/</kbd></button>
<button type="button" class="theme" aria-label="Colours: as the system's">${ICONS.theme}</button>
<button type="button" class="menu" aria-expanded="false" aria-controls="pages">${ICONS.menu}<span>Pages</span></button>
</div>
</header>
<div class="frame">
<nav id="pages" class="pages" aria-label="Pages">
${navigation(page, pages)}
</nav>
<main id="content" tabindex="-1">
<article>
<h1>${escapeHtml(page.title)}</h1>
${rendered.html}</article>
${neighbours(page, pages)}
</main>
${contents(rendered.headings)}
</div>
<footer><p>Apache-2.0. Nothing on these pages comes from elsewhere, and nothing that you do here leaves your browser.</p></footer>
</body>
</html>
`;
}
