/** What only Node has: files. Import as `@lenggen/kernels/node`. */
export { fileError, makeFolder, openFile, syncFolder, writeWhole } from "./files";
