/** Beside the entry point, as in the real binary: Bun resolves a worker from the folder that all entry points share. */
import "../../../../src/main/raft-worker.ts";
