/**
 * `npm test`: set-up, then vitest over all packages. Arguments after `--` go to vitest: `npm test -- ssd`.
 * The packages are built too, as the tests of the command line run the command that users run.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { root, setUp } from "./setup.mjs";

const { native } = setUp({ packages: true });
if (!native) console.error("test: the cpu device is missing, so every test that runs on each device runs on reference alone");

const vitest = spawn(process.execPath, [join(root, "node_modules/vitest/vitest.mjs"), "run", ...process.argv.slice(2)], { stdio: "inherit", cwd: root });
process.on("SIGINT", () => {});
process.on("SIGTERM", () => vitest.kill("SIGTERM"));
vitest.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 1)));
