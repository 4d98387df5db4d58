/** What the packages export as pages: one for each package, under it one for each entry or, where that is long, for each of its groups. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pageText, root } from "../pages.mjs";
import { readApi } from "./api.mjs";

/** An entry with more exports is cut into its groups. */
const LONGEST = 40;
/** An index file with fewer groups than these is grouped by the folders of its sources. */
const FEWEST_GROUPS = 3;

const slug = (text) => text.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-").replaceAll(/^-|-$/g, "");

/** How a folder of sources is called as a group; "" are files at the top. */
const folderOf = ({ place }) => /^packages\/[a-z]+\/src\/(?:([^/]+)\/)?/.exec(place?.file ?? "")?.[1] ?? "";

/** The exports of an entry by group: [{ title, slug, exports }]; `taken` are the names of the package's entries. */
function groupsOf({ name, exports }, taken) {
  const whole = [{ title: undefined, slug: name, exports }];
  if (exports.length <= LONGEST) return whole;
  const told = new Set(exports.map(({ group }) => group)).size >= FEWEST_GROUPS;
  const groups = new Map();
  for (const one of exports) {
    const title = told ? one.group : folderOf(one) || "general";
    groups.set(title, [...(groups.get(title) ?? []), one]);
  }
  if (groups.size < FEWEST_GROUPS) return whole;
  const slugOf = (title) => (name === "main" && !taken.includes(slug(title)) ? slug(title) : `${name}-${slug(title)}`);
  return [...groups].map(([title, exports]) => ({ title, slug: slugOf(title), exports }));
}

/** The first sentence of a docstring. */
function firstOf(doc) {
  const paragraph = doc.split(/\n\s*\n/)[0].replaceAll(/\s+/g, " ");
  return /^.*?[.?](?= [A-Z`"(]|$)/.exec(paragraph)?.[0] ?? paragraph;
}

/** A docstring as Markdown of ours: what is no code means what it says, and links lead to pages. */
function markdownOf(doc, linkTo) {
  return doc.split(/(`[^`]+`)/).map((part, i) => i % 2 === 1 ? part : part
    .replaceAll(/\{@link ([\w.]+)(?:#\w+)?(?:\s*\|?\s*([^}]*))?\}/g, (_, name, words) => {
      const address = linkTo(name.split(".")[0]);
      const label = words || `\`${name}\``;
      return address === undefined ? label : `[${label}](${address})`;
    })
    .replaceAll(/[<$*]|\](?=\()(?!\([\w./#-]*\.md)/g, (c) => (c === "<" ? "&lt;" : `\\${c}`))).join("");
}

/** The pages of one package: `entries` are its own, with their groups; `find(name)` says where a name stands. */
class PackagePages {
  constructor(room, entries, find) {
    this.room = room;
    this.entries = entries;
    this.find = find;
    this.codeLink = (name) => {
      const found = /^[A-Z]/.test(name) ? find(name) : undefined;
      return found && { path: `reference/${found.page}.html`, anchor: found.name };
    };
  }

  markdown(doc) {
    return markdownOf(doc, (name) => {
      const found = this.find(name);
      return found && `../${found.page}.md#${found.name}`;
    });
  }

  page(name, fields, body) {
    return { path: `reference/${this.room}/${name}.html`, text: pageText(fields, body), codeLink: this.codeLink };
  }

  /** What the package holds, each name with its first sentence. */
  overview(order) {
    const { name, description } = JSON.parse(readFileSync(join(root, "packages", this.room, "package.json"), "utf8"));
    const line = (one, slug) => `- [\`${one.name}\`](${slug}.md#${one.name}): `
      + (one.from ? `from \`@lenggen/${one.from.room}\`` : this.markdown(firstOf(one.doc)));
    const list = ({ title, slug, exports }) => [...(title ? [`### [${title}](${slug}.md)`, ""] : []),
      ...exports.map((one) => line(one, slug))].join("\n");
    const several = this.entries.length > 1;
    const sections = this.entries.map(({ entry, name: short, intro, groups }) => [
      ...(several ? [`## ${entry} {#entry-${short}}`] : []),
      ...(several && short === "main" ? [] : [this.markdown(intro)]),
      ...groups.map(list),
    ].join("\n\n"));
    return this.page("index", { nav: name, order, description }, `# ${name}\n\n${description}.\n\n${sections.join("\n\n")}`);
  }

  item(one) {
    const heading = `## ${one.name} {#${one.name}}`;
    if ("from" in one) {
      const owner = one.from && this.find(one.from.name);
      const link = owner && `[\`${one.from.name}\` of \`@lenggen/${one.from.room}\`](../${owner.page}.md#${owner.name})`;
      return `${heading}\n\nThe same as ${link ?? "that of another package"}.\n`;
    }
    const { file, line } = one.place;
    return `${heading}\n\n${this.markdown(one.doc)}\n\n\`\`\`ts\n${one.code}\n\`\`\`\n\n`
      + `<p class="source">${one.kind} in <code>${file}:${line}</code></p>\n`;
  }

  all(order) {
    const pages = [this.overview(order)];
    for (const { entry, name, groups, intro } of this.entries) {
      for (const { title, slug, exports } of groups) {
        const heading = title ? `${title}: ${entry}` : entry;
        const nav = title ?? (name === "main" ? "exports" : name);
        const start = title ? "" : `${this.markdown(intro)}\n\n`;
        pages.push(this.page(slug, { nav, order: pages.length, description: heading },
          `# ${heading}\n\n${start}Import from \`${entry}\`.\n\n${exports.map((one) => this.item(one)).join("\n")}`));
      }
    }
    return pages;
  }
}

/** { pages, problems }: exports without docstrings are problems. */
export function apiPages() {
  const api = readApi();
  const problems = api.flatMap(({ entry, exports }) => exports.filter((one) => !("from" in one) && !one.doc)
    .map(({ name, place }) => `${entry}: ${name} has no docstring (${place?.file}:${place?.line})`));
  const namesOf = (room) => api.filter((entry) => entry.room === room).map(({ name }) => name);
  const cut = api.map((entry) => ({ ...entry, groups: groupsOf(entry, namesOf(entry.room)) }));

  /** Where each export stands: room -> name -> "kernels/op-families". The main entry wins. */
  const where = new Map(cut.map(({ room }) => [room, new Map()]));
  for (const { room, groups } of cut) {
    for (const { slug, exports } of groups) {
      for (const one of exports) if (!("from" in one) && !where.get(room).has(one.name)) where.get(room).set(one.name, `${room}/${slug}`);
    }
  }
  const finder = (room) => (name) => {
    const page = where.get(room).get(name) ?? where.get("kernels").get(name);
    return page && { page, name };
  };
  const pages = [...where.keys()].flatMap((room, i) =>
    new PackagePages(room, cut.filter((entry) => entry.room === room), finder(room)).all(10 + i));
  return { pages, problems };
}
