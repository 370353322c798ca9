import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createApi } from "../../../src/api/create-api.ts";
import { listenApi } from "../../../src/api/listen-api.ts";
import { err, ok } from "../../../src/base/result.ts";
import type { CliPorts } from "../../../src/cli/ports.ts";
import { runProgram } from "../../../src/cli/program.ts";
import type { RecoverPorts } from "../../../src/cli/recover-ports.ts";
import { certificateRequest } from "../../../src/main/certificate-request.ts";
import { createFake, type Fake } from "../api/fixture.ts";

const nothing = async () => err("nothing is there");
const NOTHING_TO_RECOVER: RecoverPorts = {
  inspect: nothing,
  plan: nothing,
  forceNewGroup: nothing,
  restore: nothing,
};

/** What one command line did. */
export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** The real API over a real Unix socket, with a fake member behind it, and the command line in front. */
export interface FakeMember {
  readonly fake: Fake;
  readonly socketPath: string;
  /** What `run`, `supervise` and `demo` were called with. */
  readonly started: unknown[];
  readonly interrupt: AbortController;
  guacamole(argv: readonly string[], over?: Partial<CliPorts>): Promise<Ran>;
  /** Called instead of waiting. */
  onSleep: () => void;
  close(): Promise<void>;
}

/** Of everything that is asked in this process: two commands never say the same. */
let ids = 0;

export async function startFakeMember(): Promise<FakeMember> {
  const directory = await mkdtemp(join(tmpdir(), "cli-"));
  const socketPath = join(directory, "api.sock");
  const fake = createFake();
  const listener = await listenApi(createApi(fake.ports), { tcp: null, unixPath: socketPath });
  if (!listener.ok) throw new Error(listener.error);
  const started: unknown[] = [];
  const interrupt = new AbortController();
  const start = async (options: unknown) => {
    started.push(options);
    return 7;
  };
  let nowMs = 0;
  const member: FakeMember = {
    fake,
    socketPath,
    started,
    interrupt,
    onSleep: () => {},
    async guacamole(argv, over = {}) {
      let out = "";
      let err = "";
      const ports: CliPorts = {
        version: "1.2.3",
        env: { GUACAMOLE_SOCKET: socketPath },
        terminal: {
          isInteractive: false,
          widthMax: () => null,
          out: (text) => {
            out += text;
          },
          err: (text) => {
            err += text;
          },
        },
        clock: {
          nowMs: () => nowMs,
          wallMs: () => nowMs,
          async sleep(durationMs) {
            nowMs += durationMs;
            member.onSleep();
          },
        },
        interrupted: interrupt.signal,
        newId: () => `key-${++ids}`,
        socketPathOf: async () => ok(socketPath),
        readLine: async () => null,
        edit: async () => null,
        certificateRequest,
        recover: NOTHING_TO_RECOVER,
        accessLocally: start,
        run: start,
        supervise: start,
        demo: start,
        ...over,
      };
      const code = await runProgram(ports, argv);
      return { code, out, err };
    },
    async close() {
      await listener.value.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
  return member;
}
