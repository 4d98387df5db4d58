/**
 * Building blocks of a report: one HTML file with no outside resource, that reads well on a phone, on a screen
 * and on paper. Blocks are strings of HTML; text is escaped where it enters.
 */
import { METHOD_STYLES, methodColor, methodVariables, STYLED, type Styled } from "../methods";
import type { ChartSize } from "../figures/lineChart";
import { STYLE } from "./style";
import type { Settings } from "./types";
import { list } from "./words";

/** Text made safe inside HTML. */
export function escape(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

/** A paragraph; the text is escaped. */
export function paragraph(text: string, kind = ""): string {
  return `<p${kind ? ` class="${kind}"` : ""}>${escape(text)}</p>`;
}

/** Says of a report what it does not hold yet; nothing when it is whole. */
export function stillRunning(pending: readonly string[] = []): string {
  if (pending.length === 0) return "";
  return paragraph(`Still running: ${list(pending)}. What stands here is measured and final; this page is written anew as each part is `
    + "done, so load it again.", "running");
}

/** A heading with what follows it. */
export function section(title: string, ...blocks: readonly string[]): string {
  const id = title.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
  return `<section id="${id}"><h2>${escape(title)}</h2>${blocks.join("")}</section>`;
}

/** Folds away what few readers want; paper shows it all. */
export function details(summary: string, ...blocks: readonly string[]): string {
  return `<details><summary>${escape(summary)}</summary>${blocks.join("")}</details>`;
}

/** A column of a table: its title, and its value for a row. */
export interface Column<Row> {
  readonly title: string;
  readonly value: (row: Row) => string;
  /** Numbers align at the right. */
  readonly numeric?: boolean;
}

/** A table with one row for each item. */
export function table<Row>(rows: readonly Row[], columns: readonly Column<Row>[], caption = ""): string {
  const cell = (tag: "th" | "td", column: Column<Row>, text: string) =>
    `<${tag}${column.numeric ? ' class="n"' : ""}>${escape(text)}</${tag}>`;
  const head = columns.map((column) => cell("th", column, column.title)).join("");
  const body = rows.map((row) => `<tr>${columns.map((column) => cell("td", column, column.value(row))).join("")}</tr>`).join("");
  // Where it is wider than a phone, it is scrolled, by keys too.
  return `<div class="table" tabindex="0"><table>${caption ? `<caption>${escape(caption)}</caption>` : ""}`
    + `<thead><tr>${head}</tr></thead><tbody>${body}</tbody></table></div>`;
}

/** Named values; nested records get dotted names. */
export function settingsTable(settings: Settings): string {
  const rows = (record: Settings, prefix: string): [string, string][] => Object.entries(record).flatMap(([name, value]) => {
    if (value === undefined) return [];
    if (Array.isArray(value) && value.every((item) => typeof item !== "object")) return [[prefix + name, value.join(", ")]];
    if (value !== null && typeof value === "object")
      return rows(Array.isArray(value) ? numbered(value as Settings[]) : value as Settings, `${prefix}${name}.`);
    return [[prefix + name, String(value ?? "none")]];
  });
  return table(rows(settings, ""), [{ title: "Setting", value: ([name]) => name }, { title: "Value", value: ([, value]) => value }]);
}

/** Records of a list, by their numbers from 1. */
function numbered(items: readonly Settings[]): Settings {
  return Object.fromEntries(items.map((item, i) => [String(i + 1), item]));
}

/** What each model is, with its line in the figures; `others` says it of models that are something else than usual. */
export function methodKey(methods: readonly Styled[], others: Partial<Readonly<Record<Styled, string>>> = {}): string {
  const items = methods.map((method) => {
    const { label, dash } = METHOD_STYLES[method];
    const meaning = others[method] ?? METHOD_STYLES[method].meaning;
    const line = `<svg width="24" height="8" aria-hidden="true"><path d="M0 4h24" fill="none" stroke-width="2.4" `
      + `stroke="${methodColor(method)}"${dash ? ` stroke-dasharray="${dash}"` : ""}/></svg>`;
    return `<li>${line}<b class="m-${method}">${escape(label)}</b> ${escape(meaning)}</li>`;
  });
  return `<ul class="key">${items.join("")}</ul>`;
}

/** Widths at which each figure is drawn: for screens and paper, and for phones. */
const WIDE: ChartSize = { width: 760, columns: 3 };
const NARROW: ChartSize = { width: 380, columns: 2 };

/** A figure with its caption. It is drawn twice, and the style sheet shows the one that fits. */
export function figure(drawAt: (size: ChartSize) => string, title: string, caption: string): string {
  return `<figure><div class="wide">${inline(drawAt(WIDE))}</div><div class="narrow">${inline(drawAt(NARROW))}</div>`
    + `<figcaption><b>${escape(title)}</b> ${escape(caption)}</figcaption></figure>`;
}

/** Inside a page the page's own style sheet rules. */
function inline(svg: string): string {
  return svg.replace(/<style>[\s\S]*?<\/style>/g, "");
}

/** The whole document. */
export function page(title: string, ...blocks: readonly string[]): string {
  const variables = `:root{${methodVariables("light")}}@media screen and (prefers-color-scheme:dark){:root{${methodVariables("dark")}}}`;
  const methods = STYLED.map((method) => `.m-${method}{color:var(--lg-${method})}`).join("");
  return `<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">`
    + `<meta name="color-scheme" content="light dark"><title>${escape(title)}</title>`
    + `<style>${variables}${methods}${STYLE}</style></head><body><main>${blocks.join("\n")}</main></body></html>\n`;
}
