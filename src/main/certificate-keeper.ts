/**
 * Keeps a member's certificates good for as long as it runs: renews its own before it ends, reads its owner's again when
 * their files change, trusts the authorities that are agreed, and has everybody who shows one take the new one without a
 * restart.
 */
import type { Clock } from "../base/clock.ts";
import type { ClusterId } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import type { Result } from "../base/result.ts";
import type { CertificatesStatus } from "../cluster/observation.ts";
import type { ClusterState } from "../cluster/state.ts";
import { type CertificateProblem, certificateProblems, whyRenew } from "../decision/decide-renewal.ts";
import { type AgreedAuthorities, authoritiesToTrust, mayStaySignedBy } from "../decision/decide-trust.ts";
import {
  certificatesIn,
  fingerprint,
  isSignedBy,
  type MemberSubject,
  namesOf,
  readCertificate,
  renewMember,
} from "../peer/certificates.ts";
import { type MemberTls, readMemberTls, writeMemberTls } from "./member-files.ts";
import type { OwnCertificate, OwnCertificateFiles } from "./own-certificate.ts";

/** Somebody who shows certificates. */
export interface CertificateTaker {
  /** For the log. */
  readonly name: string;
  /** The owner's certificate concerns it, too. */
  readonly showsOwn: boolean;
  /** From now on these. What is refused is offered again at the next look. */
  take(tls: MemberTls, own: OwnCertificate | null): Promise<Result<void, string>>;
}

export interface CertificateKeeperOptions {
  readonly dataDirectory: string;
  readonly subject: Omit<MemberSubject, "clusterId">;
  /** As agreed now. */
  readonly cluster: () => AgreedCluster;
  /** Null: the API shows the member's certificate. */
  readonly own: OwnCertificateFiles | null;
  readonly takers: readonly CertificateTaker[];
  /** What PostgreSQL has of them: null: nothing yet that is known. Without a PostgreSQL there is nobody to ask. */
  readonly installed: (() => MemberTls | null) | null;
  /** From 0 to 1, another on each member: how much sooner it renews. */
  readonly earliness: number;
  readonly clock: Clock;
  readonly log: Log;
}

type AgreedCluster = Pick<ClusterState, "authority" | "authorityChange" | "formerAuthorities"> & {
  readonly clusterId: ClusterId;
};

/** A file's change is noticed within this time. */
const LOOK_EVERY_MS = 5_000;
/** While the authority is being replaced others wait for this member. */
const CHANGING_LOOK_EVERY_MS = 500;

export class CertificateKeeper {
  readonly #options: CertificateKeeperOptions;
  readonly #end = new AbortController();
  readonly #waiting = new Set<CertificateTaker>();
  #tls: MemberTls;
  /** What everybody here has taken, of which nothing is taken back: null: that is not known yet. */
  #taken: MemberTls | null = null;
  #renewalProblem: string | null = null;
  #status: CertificatesStatus | null = null;
  /** The names in it come from the configuration, which does not change while the process runs. */
  #areNamesChecked = false;
  #running: Promise<void> = Promise.resolve();

  constructor(options: CertificateKeeperOptions) {
    this.#options = options;
    this.#tls = readMemberTls(options.dataDirectory);
  }

  /** As of the last look. */
  get status(): CertificatesStatus | null {
    return this.#status;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#end.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#end;
    while (!signal.aborted) {
      const isChanging = this.#options.cluster().authorityChange != null;
      const sleepMs = isChanging ? CHANGING_LOOK_EVERY_MS : LOOK_EVERY_MS;
      await clock.sleep(sleepMs, signal).catch(() => undefined);
      if (!signal.aborted) await this.look();
    }
  }

  /** Everything that is due now. Never rejects: what failed is tried at the next look. */
  async look(): Promise<void> {
    try {
      this.#trust();
      await this.#renewIfDue();
      this.#note(null);
    } catch (error) {
      this.#note(error instanceof Error ? error.message : String(error));
    }
    this.#lookAtOwn();
    for (const taker of [...this.#waiting]) {
      const taken = await taker.take(this.#tls, this.#options.own?.present ?? null).catch(failed);
      if (taken.ok) this.#waiting.delete(taker);
      else this.#options.log.warn("certificate.not-taken", { by: taker.name, why: taken.error });
    }
    const { installed } = this.#options;
    if (this.#waiting.size === 0 && (installed === null || isSame(installed(), this.#tls)))
      this.#taken = this.#tls;
    this.#status = this.#describe();
  }

  /** Written before anybody takes it: a member that trusts one more does so after its next start, too. */
  #trust(): void {
    const onDisk = certificatesIn(this.#tls.caPem);
    const trusted = authoritiesToTrust(agreedIn(this.#options.cluster()), onDisk);
    const caPem = trusted.join("");
    if (caPem === this.#tls.caPem) return;
    this.#replace({ ...this.#tls, caPem });
    this.#options.log.info("certificate.authorities", { trusted: trusted.map(fingerprint).join(" ") });
  }

  #replace(tls: MemberTls): void {
    writeMemberTls(this.#options.dataDirectory, tls);
    this.#tls = tls;
    for (const taker of this.#options.takers) this.#waiting.add(taker);
  }

  async #renewIfDue(): Promise<void> {
    const { cluster, clock, earliness, log } = this.#options;
    const agreed = cluster();
    const { authority, clusterId } = agreed;
    const subject = { ...this.#options.subject, clusterId };
    const present = readCertificate(this.#tls.certificatePem);
    const ofAuthority = readCertificate(authority.certificatePem);
    const wanted = {
      names: this.#areNamesChecked ? present.names : namesOf(subject),
      isOfAuthority: mayStaySignedBy(agreedIn(agreed), signerOf(this.#tls)),
      authorityStartsMs: ofAuthority.notBeforeMs,
      authorityEndsMs: ofAuthority.notAfterMs,
    };
    const reason = whyRenew(present, wanted, clock.wallMs(), earliness);
    if (reason !== null) {
      const certificatePem = await renewMember(authority, this.#tls, subject, clock.wallMs());
      this.#replace({ ...this.#tls, certificatePem });
      const until = new Date(readCertificate(certificatePem).notAfterMs).toISOString();
      log.info("certificate.renewed", { reason, until });
    }
    this.#areNamesChecked = true;
  }

  #lookAtOwn(): void {
    const { own, log } = this.#options;
    const look = own?.look() ?? { kind: "unchanged" };
    if (look.kind === "changed") {
      for (const taker of this.#options.takers) if (taker.showsOwn) this.#waiting.add(taker);
      log.info("certificate.own-changed", { until: new Date(look.certificate.endsAtMs).toISOString() });
    }
    if (look.kind === "unusable") log.warn("certificate.own-unusable", { why: look.why });
  }

  #note(problem: string | null): void {
    if (problem !== null && problem !== this.#renewalProblem)
      this.#options.log.warn("certificate.not-renewed", { why: problem });
    this.#renewalProblem = problem;
  }

  #describe(): CertificatesStatus {
    const { own, cluster, clock } = this.#options;
    const member = readCertificate(this.#tls.certificatePem);
    const authorityEndsMs = readCertificate(cluster().authority.certificatePem).notAfterMs;
    const ownEndsMs = own?.present.endsAtMs ?? null;
    return {
      memberEndsAtMs: member.notAfterMs,
      apiEndsAtMs: ownEndsMs ?? member.notAfterMs,
      authorityEndsAtMs: authorityEndsMs,
      problems: [
        ...(this.#renewalProblem === null
          ? []
          : [`its certificate was not renewed: ${this.#renewalProblem}`]),
        ...(own?.problem == null ? [] : [`the API goes on with the certificate before: ${own.problem}`]),
        ...[...this.#waiting].map(({ name }) => `${name} has not taken the new certificate yet`),
        ...certificateProblems({ member, ownEndsMs, authorityEndsMs }, clock.wallMs()).map(say),
      ],
      ...(this.#taken === null ? {} : describeTaken(this.#taken)),
    };
  }
}

function describeTaken(tls: MemberTls): Pick<CertificatesStatus, "trusted" | "issuer"> {
  const signer = signerOf(tls);
  const trusted = certificatesIn(tls.caPem).map(fingerprint);
  return { trusted, ...(signer === null ? {} : { issuer: fingerprint(signer) }) };
}

/** Of those that are trusted on disk; null: none of them. */
function signerOf({ certificatePem, caPem }: MemberTls): string | null {
  return certificatesIn(caPem).find((authority) => isSignedBy(certificatePem, authority)) ?? null;
}

function agreedIn({ authority, authorityChange, formerAuthorities = [] }: AgreedCluster): AgreedAuthorities {
  const textOf = (pem: string): string => certificatesIn(pem)[0] ?? pem;
  return {
    signing: textOf(authority.certificatePem),
    other: authorityChange == null ? null : textOf(authorityChange.other.certificatePem),
    isOtherNext: authorityChange?.step === "trust",
    former: formerAuthorities.map(textOf),
  };
}

function isSame(one: MemberTls | null, other: MemberTls): boolean {
  return one?.caPem === other.caPem && one.certificatePem === other.certificatePem;
}

function say({ kind, endsMs }: CertificateProblem): string {
  const until = new Date(endsMs).toISOString();
  switch (kind) {
    case "overdue":
      return `its certificate is valid until ${until} only, and was not renewed`;
    case "own-ends":
      return `the API's own certificate is valid until ${until} only: replace its files`;
    case "authority-ends":
      return `the cluster's certificate authority is valid until ${until} only: 'guacamole certificates rotate-authority' replaces it`;
  }
}

function failed(error: unknown): Result<void, string> {
  return { ok: false, error: error instanceof Error ? error.message : String(error) };
}
