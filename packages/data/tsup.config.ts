import { defineConfig } from "tsup";
import { room } from "../../tsup.base";

export default defineConfig(room({ "node/index": "src/node/index.ts" }));
