import type { ViewKernels } from "../../ops/view";
import type { Launch } from "./launch";
import { nestNumbers } from "./nest";

export const view = (launch: Launch): ViewKernels => ({
  copyStrided({ x, out, xOffset, outOffset, layout }) {
    launch("copyStrided", [x, out], [xOffset, outOffset, ...nestNumbers(layout)]);
  },
});
