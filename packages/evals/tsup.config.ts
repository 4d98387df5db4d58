import { defineConfig } from "tsup";
import { browserRoom, room } from "../../tsup.base";

export default defineConfig([room({ index: "src/index.ts" }), browserRoom(["src/**/*.ts"])]);
