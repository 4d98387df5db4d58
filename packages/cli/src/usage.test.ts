import { describe, expect, test } from "vitest";
import { pageOfError } from "./usage";

describe("the page of an error code", () => {
  test("is a section of the site's page of error codes, wherever that is served", () => {
    expect(pageOfError("E_SHAPE", "https://example.org/docs")).toBe("https://example.org/docs/reference/errors.html#e_shape");
    expect(pageOfError("E_SHAPE", "https://example.org/")).toBe("https://example.org/reference/errors.html#e_shape");
  });

  test("is not told while the site has no address", () => {
    expect(pageOfError("E_SHAPE", undefined)).toBeUndefined();
  });
});
