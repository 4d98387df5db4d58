/** The lines of a CHANGELOG: what a changeset says, without the commit that brought it, and which of our packages are needed from now on. */
module.exports = {
  async getReleaseLine({ summary }) {
    const [first, ...rest] = summary.trim().split("\n");
    return [`- ${first}`, ...rest.map((line) => `  ${line}`.trimEnd())].join("\n");
  },
  async getDependencyReleaseLine(changesets, dependencies) {
    if (dependencies.length === 0) return "";
    return `- Needs ${dependencies.map(({ name, newVersion }) => `\`${name}\` ${newVersion}`).join(", ")}.`;
  },
};
