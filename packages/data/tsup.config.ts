import { defineConfig } from "tsup";
import { room } from "../../tsup.base";

export default defineConfig(room({ index: "src/index.ts", "node/index": "src/node/index.ts" }));
