/** @lenggen/data: tokenizers. Runs in browsers too; texts and files are in `@lenggen/data/node`. */
export { bytesTokenizer } from "./bytes";
export type { SpecialIds, TokenDecoder, TokenEncoder, Tokenizer } from "./tokenizer";
export { worldTokenizer } from "./world";
export { tokenizerJson, type TokenizerJsonOptions } from "./json/tokenizerJson";
