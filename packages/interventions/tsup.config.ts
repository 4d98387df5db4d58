import { defineConfig } from "tsup";
import { room } from "../../tsup.base";

export default defineConfig(room({ index: "src/index.ts", "laws/index": "src/laws/index.ts", "node/index": "src/node/index.ts" }));
