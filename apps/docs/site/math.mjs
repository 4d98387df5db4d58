/** Formulas between dollars, `$...$` and `$$...$$`, become HTML and MathML when the site is built: browsers run no script for them. */
import { renderToString } from "katex";

const html = (tex, displayMode) => renderToString(tex, { displayMode, output: "htmlAndMathml", throwOnError: true, strict: "error" });

/** As in pandoc: a dollar opens before what is no space, and closes behind what is none and before what is no digit. */
function inline(state, silent) {
  const { src, pos } = state;
  if (src[pos] !== "$" || /\s|\$/.test(src[pos + 1] ?? " ")) return false;
  let end = pos + 1;
  while ((end = src.indexOf("$", end)) !== -1 && (src[end - 1] === "\\" || /\s/.test(src[end - 1]) || /\d/.test(src[end + 1] ?? ""))) end++;
  if (end === -1) return false;
  if (!silent) state.push("math_inline", "math", 0).content = src.slice(pos + 1, end);
  state.pos = end + 1;
  return true;
}

function block(state, startLine, endLine, silent) {
  const line = (n) => state.src.slice(state.bMarks[n] + state.tShift[n], state.eMarks[n]);
  if (!line(startLine).startsWith("$$")) return false;
  let last = startLine;
  while (last < endLine && !(line(last).trimEnd().endsWith("$$") && (last > startLine || line(last).trim().length > 3))) last++;
  if (last >= endLine) return false;
  if (silent) return true;
  const token = state.push("math_block", "math", 0);
  token.block = true;
  token.content = Array.from({ length: last - startLine + 1 }, (_, i) => line(startLine + i)).join("\n").trim().slice(2, -2);
  token.map = [startLine, last + 1];
  state.line = last + 1;
  return true;
}

export function math(md) {
  md.inline.ruler.after("escape", "math_inline", inline);
  md.block.ruler.before("fence", "math_block", block, { alt: ["paragraph", "blockquote", "list"] });
  md.renderer.rules.math_inline = (tokens, i) => html(tokens[i].content, false);
  // What is too wide for a phone is scrolled, by keys too.
  md.renderer.rules.math_block = (tokens, i) => `<div class="math scrolls">${html(tokens[i].content, true)}</div>\n`;
}
