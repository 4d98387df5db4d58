import { defineConfig } from "tsup";
import { room } from "../../tsup.base";

export default defineConfig(room({ index: "src/index.ts", "gguf/index": "src/gguf/index.ts" }));
