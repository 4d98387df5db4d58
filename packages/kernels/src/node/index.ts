/** What only Node has: files. Import as `@lenggen/kernels/node`. */
export { openFile, writeWhole } from "./files";
