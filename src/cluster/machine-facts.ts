/** What PostgreSQL has to live with on one machine: limits of its container count, where there are any. */
export interface MachineFacts {
  readonly memoryBytes: number;
  /** A control group's limit is less than the machine has. */
  readonly isMemoryLimited: boolean;
  /** Whole cores, at least one. */
  readonly cores: number;
  /** Of the disk under the data directory; `unknown` where the kernel does not tell. */
  readonly disk: "ssd" | "rotating" | "unknown";
  /** Size of the file system under the data directory. */
  readonly diskBytes: number;
}
