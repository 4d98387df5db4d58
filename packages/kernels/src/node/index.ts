/** What only Node has: files. Import as `@lenggen/kernels/node`. */
export { fileError, openFile, writeWhole } from "./files";
