/** What the page's script and that of search hand each other. */
export interface Shared {
  /** The search index as text, which search-index.js hands over. */
  lenggenSearchIndex?: string;
  /** Opens search, where search.js is loaded; `up` is the way to the site's own folder. */
  lenggenSearch?: (up: string) => void;
}

export const shared = globalThis as Shared;
