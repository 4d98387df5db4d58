/** Pages that are made of the sources, and what the sources lack. */
import { apiPages } from "./apiPages.mjs";
import { commandPages } from "./commandPages.mjs";
import { environmentProblems, errorCodes } from "./tables.mjs";

/** { pages: [{ path, text, codeLink }], problems }. */
export function madePages() {
  const { pages, problems } = apiPages();
  return { pages: [...pages, ...commandPages()], problems };
}

/** Pages that are written by hand and checked against the sources: their text as it is shown, and what is wrong with it. */
export const CHECKED = {
  "reference/errors.html": errorCodes,
  "reference/environment.html": (text) => ({ text, problems: environmentProblems(text) }),
};
