/** What only Node has: files and their locks. Import as `@lenggen/kernels/node`. */
export { besideName, checkWritable, fileError, makeFolder, openFile, syncFolder, writeWhole } from "./files";
export { type FileTokens, fileTokens } from "./fileTokens";
export { type FolderLock, isLockFile, lockFolder, type LockOptions } from "./lock";
export { lockTarget, sweepTargets } from "./target";
export { CHECKPOINT_FILES, openWeightsIn, weightsFilesIn } from "./weights";
