import { defineConfig } from "tsup";
import { browserRoom, room } from "../../tsup.base";

export default defineConfig([room({ index: "src/index.ts", "figures/index": "src/figures/index.ts" }), browserRoom(["src/**/*.ts"])]);
