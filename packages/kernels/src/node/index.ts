/** What only Node has: files. Import as `@lenggen/kernels/node`. */
export { fileError, makeFolder, openFile, openWeightsIn, syncFolder, writeWhole } from "./files";
export { type FileTokens, fileTokens } from "./fileTokens";
