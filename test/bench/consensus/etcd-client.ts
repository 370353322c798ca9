/**
 * What the benchmark asks of etcd, over gRPC: HTTP/2 and a few protobuf fields, written here by hand, because the usual
 * client takes three times the processor and would be measured instead of etcd.
 */
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from "node:http2";

export interface EtcdStatus {
  readonly memberId: bigint;
  readonly leaderId: bigint;
  readonly term: number;
  readonly appliedIndex: number;
}

const FRAME_HEAD_BYTES = 5;
const WIRE_VARINT = 0;
const WIRE_BYTES = 2;

export class EtcdClient {
  readonly #session: ClientHttp2Session;

  /** Connects when it is first asked. */
  constructor(port: number) {
    this.#session = connect(`http://127.0.0.1:${port}`);
    // Each request that is open says so, too.
    this.#session.on("error", () => undefined);
  }

  async put(key: string, value: Uint8Array): Promise<void> {
    await this.#call("/etcdserverpb.KV/Put", [field(1, Buffer.from(key)), field(2, value)]);
  }

  /** Linearizable: that is etcd's default. */
  async range(key: string): Promise<void> {
    await this.#call("/etcdserverpb.KV/Range", [field(1, Buffer.from(key))]);
  }

  async status(): Promise<EtcdStatus> {
    const answer = readFields(await this.#call("/etcdserverpb.Maintenance/Status", []));
    const header = answer.get(1);
    const number = (place: number): bigint => {
      const found = answer.get(place);
      return typeof found === "bigint" ? found : 0n;
    };
    const memberId = header instanceof Uint8Array ? readFields(header).get(2) : undefined;
    return {
      memberId: typeof memberId === "bigint" ? memberId : 0n,
      leaderId: number(4),
      term: Number(number(6)),
      appliedIndex: Number(number(7)),
    };
  }

  close(): void {
    this.#session.destroy();
  }

  #call(path: string, fields: readonly Uint8Array[]): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      let stream: ClientHttp2Stream;
      try {
        stream = this.#session.request({
          ":method": "POST",
          ":path": path,
          "content-type": "application/grpc",
          te: "trailers",
        });
      } catch (error) {
        reject(error);
        return;
      }
      const chunks: Uint8Array[] = [];
      let status: unknown = null;
      let message: unknown = null;
      const takeStatus = (headers: Readonly<Record<string, unknown>>): void => {
        status = headers["grpc-status"] ?? status;
        message = headers["grpc-message"] ?? message;
      };
      stream.on("response", takeStatus);
      stream.on("trailers", takeStatus);
      stream.on("data", (chunk: Uint8Array) => chunks.push(chunk));
      stream.on("error", reject);
      stream.on("close", () => reject(new Error(`etcd closed ${path} without an answer`)));
      stream.on("end", () => {
        if (status === "0") resolve(Buffer.concat(chunks).subarray(FRAME_HEAD_BYTES));
        else reject(new Error(`etcd answered ${path} with status ${String(status)}: ${String(message)}`));
      });
      stream.end(framed(fields));
    });
  }
}

function framed(fields: readonly Uint8Array[]): Uint8Array {
  const body = Buffer.concat(fields);
  const head = Buffer.alloc(FRAME_HEAD_BYTES);
  head.writeUInt32BE(body.byteLength, 1);
  return Buffer.concat([head, body]);
}

function field(place: number, value: Uint8Array): Uint8Array {
  return Buffer.concat([
    Buffer.from([...varint((place << 3) | WIRE_BYTES), ...varint(value.byteLength)]),
    value,
  ]);
}

function varint(value: number): readonly number[] {
  const bytes: number[] = [];
  let left = value;
  for (; left > 0x7f; left >>>= 7) bytes.push((left & 0x7f) | 0x80);
  bytes.push(left);
  return bytes;
}

/** The fields of a message by their place; of one that is repeated the last. */
function readFields(bytes: Uint8Array): ReadonlyMap<number, bigint | Uint8Array> {
  const fields = new Map<number, bigint | Uint8Array>();
  let at = 0;
  const readVarint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at] ?? 0;
      at += 1;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.byteLength) {
    const key = Number(readVarint());
    const wire = key & 7;
    if (wire === WIRE_VARINT) {
      fields.set(key >> 3, readVarint());
    } else if (wire === WIRE_BYTES) {
      const length = Number(readVarint());
      fields.set(key >> 3, bytes.subarray(at, at + length));
      at += length;
    } else {
      throw new Error(
        `etcd answered with a protobuf field of wire type ${wire}, which this client does not read`,
      );
    }
  }
  return fields;
}
