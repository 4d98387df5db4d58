import { defineConfig } from "tsup";
import { browserRoom, room } from "../../tsup.base";

const NODE_ONLY = ["!src/node/**", "!src/backends/cpu/**", "!src/platform.ts", "!src/backends/webgpu/dawn{,Probe}.ts", "!src/testing.ts"];

export default defineConfig([
  room({
    index: "src/index.ts", "composed/index": "src/composed/index.ts", "nn/index": "src/nn/index.ts", "laws/index": "src/laws/index.ts",
    "gguf/index": "src/gguf/index.ts", "node/index": "src/node/index.ts", "pytorch/index": "src/pytorch/index.ts",
  }),
  browserRoom(["src/**/*.ts", ...NODE_ONLY]),
]);
