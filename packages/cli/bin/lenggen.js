#!/usr/bin/env node
// Says what is wrong before anything newer than this file's syntax is loaded.
const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(`lenggen: Node 20.19 or newer is needed; this is ${process.versions.node} [E_ARGUMENT]\n`);
  process.exit(1);
}
// Node opens its debugger on this signal unless somebody listens; the command does as soon as it is loaded.
process.on("SIGUSR1", () => {});
import("../dist/index.js").then(
  ({ main }) => main(process.argv.slice(2)),
  (error) => {
    const unbuilt = error.code === "ERR_MODULE_NOT_FOUND" && /cli\/dist\//.test(error.message);
    process.stderr.write(`lenggen: ${unbuilt ? "the packages are not built yet; run: npm run build" : error.message} [E_MISSING]\n`);
    process.exitCode = 1;
  },
);
