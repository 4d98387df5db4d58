/** What only Node has: texts and tokenizers in files, the cache, and what the Hugging Face Hub has. Import as `@lenggen/data/node`. */
export { cacheEntry, cacheFolder, type CacheOptions, type CacheProgress, type Content, contentOf } from "./cache";
export { Documents, type TextDocument, type TextFile } from "./documents";
export { type HubFiles, type HubKind, type HubPlan, type HubRequest, hubReferenceOf, isHubReference, resolveHub } from "./hub";
export { isTextName, readText, type Text, type TextOptions, textOf } from "./text";
export { openTokenFile, type TokenFile } from "./tokenFile";
export { bytesFiles, findTokenizer, readTokenizer, type TokenizerFiles } from "./tokenizers";
export { type TokenText, tokenText } from "./tokenText";
