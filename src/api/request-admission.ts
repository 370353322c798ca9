import { err, ok, type Result } from "../base/result.ts";
import { memberIdOf } from "../cluster/common-name.ts";
import { FEATURE_LEVEL } from "../cluster/feature-level.ts";
import { CLUSTER_SERVER_NAME, certificateFingerprint, type JoinTokenParts } from "./credential.ts";
import type { AdmissionDocument, AdmitRequestDocument } from "./documents.ts";
import type { Refusal } from "./ports.ts";
import type { ProblemDocument } from "./problem.ts";

/** What a joiner understands. A header, since release 0.1.0 refuses a field that it does not know. Absent: 1. */
export const FEATURE_LEVEL_HEADER = "x-guacamole-feature-level";

const CA_DEADLINE_MS = 5_000;
const JOIN_DEADLINE_MS = 30_000;

export interface AdmissionRequest {
  /** host:port of the API of any member. */
  readonly address: string;
  readonly token: JoinTokenParts;
  /** If given, the cluster must have this name; looked at before the token is spent. */
  readonly expectedName: string | null;
  readonly joiner: Omit<AdmitRequestDocument, "tokenId" | "secret">;
}

/**
 * The joining side: fetches the cluster's CA from a member that is not trusted yet, trusts it only if it is the one that
 * the join token names, and sends the secret over a connection that this CA vouches for.
 *
 * `caPem` of the answer is the certificate that was compared, whatever the answer itself says.
 */
export async function requestAdmission(
  request: AdmissionRequest,
): Promise<Result<AdmissionDocument, Refusal>> {
  const { address, token, expectedName, joiner } = request;
  const ca = await fetchCa(address);
  if (!ca.ok) return ca;
  const { caPem, clusterName } = ca.value;
  if (certificateFingerprint(caPem) !== token.caFingerprint) {
    return refuse(
      403,
      "ca-fingerprint-mismatch",
      `The member at ${address} is not of the cluster that the join token names; nothing was sent to it.`,
      "Check the address. Where the cluster's certificate authority was replaced since the token was made, 'guacamole member add' makes another. If it is neither, somebody may stand in between: do not go on before you know why.",
    );
  }
  if (expectedName !== null && clusterName !== expectedName) {
    return refuse(
      409,
      "cluster-name-mismatch",
      "The cluster there has another name than the one you gave.",
      null,
    );
  }
  const body: AdmitRequestDocument = { ...joiner, tokenId: token.id, secret: token.secret };
  let response: Response;
  try {
    response = await fetch(`https://${address}/v1/members/join`, {
      method: "POST",
      headers: { "content-type": "application/json", [FEATURE_LEVEL_HEADER]: String(FEATURE_LEVEL) },
      body: JSON.stringify(body),
      // Any member admits; under which address it is reached proves nothing.
      tls: { ca: caPem, serverName: CLUSTER_SERVER_NAME, checkServerIdentity: whyNoMember },
      redirect: "error",
      // Not the connection that fetched the CA: nothing vouched for that one.
      keepalive: false,
      signal: AbortSignal.timeout(JOIN_DEADLINE_MS),
    });
  } catch (error) {
    if (isUntrusted(error)) {
      return refuse(
        403,
        "certificate-untrusted",
        `The member at ${address} cannot prove that it belongs to the cluster; the join token was not sent to it.`,
        "Check the address: 'guacamole member add' prints the one to use. If it is right, somebody may stand in between.",
      );
    }
    return refuse(
      504,
      "unknown-outcome",
      `It is not known whether the member at ${address} admitted this one (${describe(error)}).`,
      "'guacamole member list' there tells. If it did not, join again; a spent join token needs a new one.",
    );
  }
  if (!response.ok) return err(await readRefusal(response, address));
  return ok({ ...((await response.json()) as AdmissionDocument), caPem });
}

async function fetchCa(address: string): Promise<Result<{ caPem: string; clusterName: string }, Refusal>> {
  try {
    const response = await fetch(`https://${address}/v1/ca`, {
      // Whom to trust is what this answer is compared for.
      tls: { rejectUnauthorized: false },
      redirect: "error",
      keepalive: false,
      signal: AbortSignal.timeout(CA_DEADLINE_MS),
    });
    if (!response.ok) return err(await readRefusal(response, address));
    const clusterName = decodeURIComponent(response.headers.get("x-guacamole-cluster") ?? "");
    return ok({ caPem: await response.text(), clusterName });
  } catch (error) {
    return refuse(
      502,
      "peer-unreachable",
      `Nothing answers at ${address} (${describe(error)}); nothing was changed.`,
      "It should be host:port of the API of a member, 8008 unless configured otherwise.",
    );
  }
}

/** What the other side said, if it was guacamole. */
async function readRefusal(response: Response, address: string): Promise<Refusal> {
  const text = await response.text();
  try {
    const problem = JSON.parse(text) as ProblemDocument;
    const status = ([401, 403, 409, 422, 503, 504] as const).find((each) => each === response.status) ?? 502;
    return { status, code: problem.code, message: problem.detail, hint: problem.hint ?? null };
  } catch {
    return {
      status: 502,
      code: "peer-unreachable",
      message: `What answers at ${address} is not guacamole (HTTP ${response.status}).`,
      hint: null,
    };
  }
}

function refuse(
  status: Refusal["status"],
  code: string,
  message: string,
  hint: string | null,
): { readonly ok: false; readonly error: Refusal } {
  return err({ status, code, message, hint });
}

/** What this authority signed for anybody but a member lets nobody in. */
function whyNoMember(
  _host: string,
  { subject }: { readonly subject?: { readonly CN?: unknown } },
): Error | undefined {
  const name = memberIdOf(String(subject?.CN));
  return name.ok ? undefined : Object.assign(new Error(name.error), { code: "ERR_TLS_NO_MEMBER" });
}

const UNTRUSTED = /^(DEPTH_ZERO|UNABLE_TO|SELF_SIGNED|CERT_|ERR_TLS)/;

/** The handshake failed over the certificate: the request was never sent. */
function isUntrusted(error: unknown): boolean {
  return error instanceof Error && "code" in error && UNTRUSTED.test(String(error.code));
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
