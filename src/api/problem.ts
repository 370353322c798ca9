import type { Outcome } from "../cluster/command.ts";
import type { LossOfferDocument } from "./documents.ts";
import type { Refusal } from "./ports.ts";

/** What an `application/problem+json` body says (RFC 9457). `code` is stable; scripts may look at it. */
export interface ProblemDocument {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly hint?: string;
  /** For 422: one sentence per field, never the value that was sent. */
  readonly errors?: readonly { readonly field: string; readonly message: string }[];
  /** Where a person may take a loss to get what was refused: the same as `GET /v1/explain` shows. */
  readonly lossOffer?: LossOfferDocument;
}

const TITLES: Readonly<Record<number, string>> = {
  400: "The request cannot be read",
  401: "A token is needed",
  403: "This token may not do that",
  404: "Not found",
  405: "Method not allowed",
  408: "The request took too long",
  409: "Refused",
  413: "The body is too large",
  415: "The body must be JSON",
  422: "The request is not valid",
  429: "Too many attempts",
  500: "An error of guacamole itself",
  502: "The other side did not do its part",
  503: "Not available now",
  504: "The outcome is unknown",
};

interface ProblemParts {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly hint?: string | null;
  readonly errors?: ProblemDocument["errors"];
  readonly lossOffer?: LossOfferDocument;
  readonly headers?: Readonly<Record<string, string>>;
  /** Who it is, where that was proven. For the audit trail, not for the answer. */
  readonly by?: string | null;
  /** More than whoever asked is told. For the audit trail and the log, not for the answer. */
  readonly why?: string | null;
}

/** An answer that is not the one asked for. Thrown by handlers, written as a problem document in one place. */
export class ApiProblem extends Error {
  override readonly name = "ApiProblem";
  readonly parts: ProblemParts;

  constructor(parts: ProblemParts) {
    super(parts.detail);
    this.parts = parts;
  }

  toDocument(): ProblemDocument {
    const { status, code, detail, hint, errors, lossOffer } = this.parts;
    return {
      type: `urn:guacamole:problem:${code}`,
      title: TITLES[status] ?? "Problem",
      status,
      code,
      detail,
      ...(hint == null ? {} : { hint }),
      ...(errors === undefined ? {} : { errors }),
      ...(lossOffer === undefined ? {} : { lossOffer }),
    };
  }

  toResponse(): Response {
    return new Response(`${JSON.stringify(this.toDocument())}\n`, {
      status: this.parts.status,
      headers: { ...this.parts.headers, "content-type": "application/problem+json" },
    });
  }
}

export function refusalProblem(refusal: Refusal): ApiProblem {
  return new ApiProblem({
    status: refusal.status,
    code: refusal.code,
    detail: refusal.message,
    hint: refusal.hint,
  });
}

/** A command that `apply()` refused: 409 with its stable code. */
export function outcomeProblem(outcome: Extract<Outcome, { ok: false }>): ApiProblem {
  return new ApiProblem({ status: 409, code: outcome.code, detail: outcome.message, hint: outcome.hint });
}

function notFormedProblem(): ApiProblem {
  return new ApiProblem({
    status: 409,
    code: "not-formed",
    detail: "This member belongs to no cluster yet.",
    hint: "On this host: 'guacamole form' begins a new cluster, 'guacamole join ADDRESS --token T' enters an existing one.",
  });
}

/** Why a member without a control plane cannot answer: it belongs to no cluster, or it is still starting. */
export function notReadyProblem(isMember: boolean): ApiProblem {
  return isMember ? startingProblem() : notFormedProblem();
}

function startingProblem(): ApiProblem {
  return new ApiProblem({
    status: 503,
    code: "starting",
    detail: "This member is starting: it does not know yet what is agreed. Nothing was done.",
    hint: "Try again in a moment, or ask another member.",
  });
}

/** For what is asked without TLS, and is no health check. */
export function tlsRequired(): ApiProblem {
  return new ApiProblem({
    status: 403,
    code: "tls-required",
    detail: "This port speaks no TLS: it answers health checks, and nothing else.",
    hint: "Everything else is asked over HTTPS ([api] listen). A token that was sent here is to be revoked.",
  });
}
