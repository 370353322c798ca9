/**
 * One member: its API from the first moment on, and its control plane from when it formed or joined.
 *
 * ```
 *   start ──> API listens ──(formed or joined before?)──> control plane: consensus, member loop, leader loop
 *                  └── form / join over the Unix socket ──────^
 * ```
 */
import { randomBytes } from "node:crypto";
import { closeSync } from "node:fs";
import { join } from "node:path";
import { BreakGlassLoop } from "../agent/break-glass-loop.ts";
import { CatalogLoop } from "../agent/catalog-loop.ts";
import { LeaderLoop } from "../agent/leader-loop.ts";
import { LEASE_METHOD, type LeaseGrant, parseLeaseGrant } from "../agent/lease-grants.ts";
import { MemberLoop } from "../agent/member-loop.ts";
import type { LocalPostgres } from "../agent/ports.ts";
import { createApi } from "../api/create-api.ts";
import { formatToken, hashSecret, parseJoinToken } from "../api/credential.ts";
import { type ApiListener, listenApi, type TlsMaterial } from "../api/listen-api.ts";
import type {
  Admission,
  AdmitRequest,
  ApiPorts,
  Formed,
  FormRequest,
  Joined,
  JoinRequest,
  Refusal,
} from "../api/ports.ts";
import { requestAdmission } from "../api/request-admission.ts";
import { askedFor } from "../api/submit.ts";
import { defined } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import type { ClusterId, LogIndex, MemberId } from "../base/ids.ts";
import type { Log } from "../base/log.ts";
import { err, ok, type Result } from "../base/result.ts";
import { apply } from "../cluster/apply.ts";
import { trustedAuthorities } from "../cluster/authority-change.ts";
import type { Command } from "../cluster/command.ts";
import { encodeCommand } from "../cluster/command-codec.ts";
import { commonNameOf } from "../cluster/common-name.ts";
import type { Consensus } from "../cluster/consensus.ts";
import { FEATURE_LEVEL, isUnderstoodByAll } from "../cluster/feature-level.ts";
import type { Member } from "../cluster/member.ts";
import type { HookResult, PostgresStatus } from "../cluster/observation.ts";
import { DEFAULT_SPEC } from "../cluster/spec.ts";
import { featureLevelOf, memberName } from "../cluster/state.ts";
import { createAuthority, createKeyAndRequest, selfSigned, signMember } from "../peer/certificates.ts";
import { signRole } from "../peer/role-certificate.ts";
import { BreakGlassRoles } from "../postgres/break-glass-roles.ts";
import { Catalog } from "../postgres/catalog.ts";
import { Probe, type ProbeOptions } from "../postgres/probe.ts";
import { hashSettings } from "../postgres/render-config.ts";
import { findInstallation, inspectInstallation } from "../postgres/versions.ts";
import { bootstrapEntries } from "../raft/node.ts";
import { formStore, joinStore, loadIdentity } from "../store/identity.ts";
import { storePaths } from "../store/marker.ts";
import { STAND_IN_VARIABLE } from "../supervisor/member-guard.ts";
import { defaultSocketPath } from "../supervisor/supervise.ts";
import { AuditCourier } from "./audit-courier.ts";
import { CertificateDoor } from "./certificate-door.ts";
import { CertificateKeeper } from "./certificate-keeper.ts";
import { apiSocketPath, type CertificateFiles, type MemberConfig, type PostgresConfig } from "./config.ts";
import { type MemberConsensus, startConsensus } from "./consensus-client.ts";
import { lockDataDirectory } from "./data-lock.ts";
import { explain, reasonOf } from "./explain.ts";
import { Hooks } from "./hooks.ts";
import { hostFacts } from "./host-facts.ts";
import { formatHostPort } from "./host-port.ts";
import { beginLife } from "./life.ts";
import { type MemberTls, readMemberTls, writeMemberTls } from "./member-files.ts";
import {
  type AskablePostgres,
  DECLARED_METHOD,
  declaredHere,
  declaredOn,
  FORKS_METHOD,
  forksHere,
  forksOf,
  HAND_OVER_METHOD,
  MACHINE_METHOD,
  machineHere,
  machineOf,
  mayHandOver,
  mayHandOverHere,
  RELOAD_METHOD,
  reloadHere,
  reloadOn,
  SETTINGS_METHOD,
  settingsHere,
  settingsOf,
  TRY_ACCESS_METHOD,
  TRY_METHOD,
  tryAccessHere,
  tryAccessOn,
  tryHere,
  tryOn,
} from "./member-questions.ts";
import { type OwnCertificate, OwnCertificateFiles } from "./own-certificate.ts";
import { whyNoPeerPort } from "./peer-port.ts";
import { whyRemoved } from "./removal-note.ts";
import { SupervisorLink, type SupervisorLinkOptions } from "./supervisor-link.ts";
import { openSyslog } from "./syslog-link.ts";
import { newId, newSecret, systemRandom } from "./system-random.ts";
import { EXIT_REMOVED } from "./worker-protocol.ts";

export interface MemberProcessOptions {
  readonly config: MemberConfig;
  /** How this program starts itself: `[path of the binary]`, or bun and the entry file. */
  readonly selfCommand: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  readonly clock: Clock;
  readonly log: Log;
  /** The process must end with this code: nothing may be written any more. */
  readonly onFatal: (exitCode: number, message: string) => void;
  /** Its API answers. The control plane may still be starting. Absent: nobody asks. */
  readonly onUp?: () => void;
}

/** Something in the surroundings stops the member from starting. The message says what, and what to do. */
export class CannotStart extends Error {
  override readonly name = "CannotStart";
  /** Null: the code of every failure to start. */
  readonly exitCode: number | null;

  constructor(message: string, exitCode: number | null = null) {
    super(message);
    this.exitCode = exitCode;
  }
}

interface ControlPlane {
  readonly memberId: MemberId;
  readonly certificates: CertificateKeeper;
  readonly consensus: Consensus;
  readonly memberLoop: MemberLoop;
  readonly breakGlass: BreakGlassLoop | null;
  readonly leaderLoop: LeaderLoop;
  readonly supervisor: SupervisorLink | null;
  readonly probe: Probe | null;
  readonly hooks: Hooks | null;
  readonly catalogLoop: CatalogLoop | null;
}

/** A turn of the member's loop that takes longer than this means that the process hangs. */
const STALLED_MS = 30_000;

export class MemberProcess {
  readonly #options: MemberProcessOptions;
  readonly #paths: ReturnType<typeof storePaths>;
  #lock: number | null = null;
  #listener: ApiListener | null = null;
  /** Where client certificates are taken. Null: the host's file says nowhere. */
  #door: CertificateDoor | null = null;
  #plane: ControlPlane | null = null;
  /** From the moment it is known; the control plane may still be starting. */
  #memberId: MemberId | null = null;
  /** The owner's certificate for the API; null: there is none. */
  #own: OwnCertificateFiles | null = null;
  /** Brings the audit trail to a syslog daemon. Null: the host's file names none. */
  readonly #courier: AuditCourier | null;
  /** How often the group was recovered from one survivor. */
  #recoveryEpoch = 0;
  #isChanging = false;
  #startingPlane = new AbortController();

  constructor(options: MemberProcessOptions) {
    this.#options = options;
    this.#paths = storePaths(options.config.dataDir);
    this.#courier = courierOf(options);
  }

  /** @throws {CannotStart} or a `StoreError`, with what is wrong and what to do. */
  async start(): Promise<void> {
    const { config, log, version } = this.#options;
    await this.#lockDataDirectory();
    if (config.postgres !== null) this.#howToSupervise(config.postgres);
    this.#own = readOwn(config.apiCertificate);
    const removed = whyRemoved(this.#paths.database);
    if (removed !== null) throw new CannotStart(removed, EXIT_REMOVED);
    const identity = loadIdentity(this.#paths.database);
    this.#memberId = identity?.memberId ?? null;
    this.#recoveryEpoch = identity?.recoveryEpoch ?? 0;
    await this.#listen(identity !== null);
    this.#courier?.start();
    log.info("member.started", {
      name: config.name,
      version,
      api: formatHostPort(config.api.listen),
      socket: apiSocketPath(config.dataDir),
      isMember: identity !== null,
    });
    this.#options.onUp?.();
    if (identity !== null) await this.#startControlPlane(identity.memberId, identity.promotableFrom);
    else
      log.info("member.waiting", {
        hint: "run 'guacamole form' here, or 'guacamole join' to enter a cluster",
      });
  }

  /** PostgreSQL and its supervisor go on. */
  async stop(): Promise<void> {
    this.#startingPlane.abort(new CannotStart("the member is being stopped"));
    const plane = this.#plane;
    // First: it would have the API listen again.
    await plane?.certificates.stop();
    this.#door?.stop();
    await this.#listener?.stop();
    await this.#courier?.stop();
    if (plane !== null) {
      await plane.leaderLoop.stop();
      await plane.breakGlass?.stop();
      await plane.memberLoop.stop();
      await plane.catalogLoop?.stop();
      await plane.consensus.close();
      plane.supervisor?.close();
      await plane.probe?.close();
    }
    if (this.#lock !== null) closeSync(this.#lock);
  }

  async #lockDataDirectory(): Promise<void> {
    const { config, environment, clock, log } = this.#options;
    const locked = await lockDataDirectory({
      dataDir: config.dataDir,
      isStandIn: environment[STAND_IN_VARIABLE] !== undefined,
      clock,
      onTakeOver: (pid) => log.info("member.takes-over", { from: pid }),
    });
    if (!locked.ok) throw new CannotStart(locked.error);
    this.#lock = locked.value;
  }

  async #listen(isMember: boolean): Promise<void> {
    const { config, clock, log } = this.#options;
    const own = this.#own?.present ?? null;
    const tls = isMember
      ? apiTls(readMemberTls(config.dataDir), own)
      : (own ?? keyed(await selfSigned(config.name, this.#hosts(), clock.wallMs())));
    const api = createApi(this.#apiPorts());
    const listened = await listenApi(api, {
      tcp: { hostname: config.api.listen.host, port: config.api.listen.port, tls },
      health:
        config.healthListen === null
          ? null
          : { hostname: config.healthListen.host, port: config.healthListen.port },
      unixPath: apiSocketPath(config.dataDir),
    });
    if (!listened.ok) throw new CannotStart(listened.error);
    this.#listener = listened.value;
    if (config.certificateListen !== null)
      this.#door = new CertificateDoor({
        api,
        listen: config.certificateListen,
        directory: join(config.dataDir, "door"),
        clock,
        log,
      });
  }

  #apiPorts(): ApiPorts {
    const { config, version, clock, log } = this.#options;
    return {
      name: config.name,
      version,
      clock,
      log,
      memberId: () => this.#memberId,
      consensus: () => this.#plane?.consensus ?? null,
      localStatus: () => this.#plane?.memberLoop.status ?? null,
      stalledReason: () => this.stalledReason(),
      explain: (lost) => {
        const plane = this.#plane;
        return plane === null ? null : explain(plane.consensus, plane.memberId, clock, lost);
      },
      reasonOf,
      forks: async (memberId) => {
        const plane = this.#plane;
        if (plane === null) return err("this member is starting");
        return forksOf(plane.consensus, { id: plane.memberId, supervisor: plane.supervisor }, memberId);
      },
      machine: async (memberId) => {
        const plane = this.#plane;
        if (plane === null) return err("this member is starting");
        return machineOf(plane.consensus, { id: plane.memberId, supervisor: plane.supervisor }, memberId);
      },
      reload: async (memberId) => {
        const plane = this.#plane;
        if (plane === null) return err("this member is starting");
        return reloadOn(plane.consensus, { id: plane.memberId, supervisor: plane.supervisor }, memberId);
      },
      tryAccess: async (memberId, lines) => {
        const plane = this.#plane;
        if (plane === null) return err("this member is starting");
        const self = { id: plane.memberId, supervisor: plane.supervisor };
        return tryAccessOn(plane.consensus, self, memberId, lines);
      },
      mayHandOver: async (primaryId, to) => {
        const plane = this.#plane;
        if (plane === null) return err("this member is starting");
        return mayHandOver(plane.consensus, { id: plane.memberId, hooks: plane.hooks }, primaryId, to);
      },
      serverSettings: async (memberId, names) => {
        const plane = this.#plane;
        if (plane === null) return err("this member is starting");
        return settingsOf(plane.consensus, asAskable(plane), memberId, names);
      },
      tryParameters: async (memberId, parameters) => {
        const plane = this.#plane;
        if (plane === null) return { kind: "unknown", why: "this member is starting" };
        return tryOn(plane.consensus, asAskable(plane), memberId, parameters);
      },
      declaredReport: async (memberId) => {
        const plane = this.#plane;
        if (plane === null) return err("this member is starting");
        return declaredOn(plane.consensus, { id: plane.memberId, loop: plane.catalogLoop }, memberId);
      },
      form: (request) => this.#once(() => this.#form(request)),
      join: (request) => this.#once(() => this.#join(request)),
      admit: (request) => this.#admit(request),
      signRole: ({ csrPem, role, expiresAtMs }) => {
        const consensus = this.#plane?.consensus;
        if (consensus === undefined) return Promise.resolve(err("this member belongs to no cluster yet"));
        return signRole(consensus.state.authority, csrPem, role, expiresAtMs);
      },
      certificateListener: () => ({
        port: config.certificateListen?.port ?? null,
        problem: this.#door?.problem ?? null,
      }),
      onAttempt: (record) => this.#courier?.tell(record),
      succeedAuthority: ({ clusterId, authority }) =>
        createAuthority(clusterId, clock.wallMs(), authority.certificatePem),
      newId,
      newSecret,
      newSalt: (bytes) => randomBytes(bytes),
    };
  }

  /** Why it is to be taken for one that hangs; null: it turns. */
  stalledReason(): string | null {
    const turnedAtMs = this.#plane?.memberLoop.turnedAtMs ?? null;
    if (turnedAtMs === null) return null;
    const silentMs = this.#options.clock.nowMs() - turnedAtMs;
    return silentMs < STALLED_MS
      ? null
      : `the member's loop has not turned for ${Math.round(silentMs / 1000)} s`;
  }

  /** Forming and joining happen once, one at a time. */
  async #once<T>(change: () => Promise<Result<T, Refusal>>): Promise<Result<T, Refusal>> {
    if (this.#memberId !== null)
      return err(refusal(409, "already-formed", "This member belongs to a cluster already."));
    if (this.#isChanging)
      return err(refusal(409, "operation-running", "This member is forming or joining just now."));
    const noPort = whyNoPeerPort(this.#options.config.peer.listen);
    if (noPort !== null) return err(refusal(409, "peer-port-unavailable", noPort, PEER_PORT_HINT));
    this.#isChanging = true;
    try {
      return await change();
    } finally {
      this.#isChanging = false;
    }
  }

  async #form({ clusterName, asked }: FormRequest): Promise<Result<Formed, Refusal>> {
    const { config, clock, log } = this.#options;
    const clusterId = newId() as ClusterId;
    const memberId = newId() as MemberId;
    const authority = await createAuthority(clusterId, clock.wallMs());
    const key = await createKeyAndRequest(commonNameOf(memberId));
    const subject = { memberId, name: config.name, hosts: this.#hosts() };
    const signed = await signMember(authority, key.csrPem, subject, clock.wallMs());
    if (!signed.ok) return err(refusal(409, "certificate", signed.error));
    writeMemberTls(config.dataDir, {
      caPem: authority.certificatePem,
      certificatePem: signed.value,
      privateKeyPem: key.privateKeyPem,
    });
    const token = { id: shortId(), secret: newSecret() };
    const command: Command = {
      id: newId(),
      atMs: clock.wallMs(),
      by: "local",
      change: {
        kind: "form",
        clusterId,
        name: clusterName,
        spec: DEFAULT_SPEC,
        authority,
        member: this.#asMember(memberId),
        token: {
          id: token.id,
          secretHash: hashSecret(token.secret),
          scope: "admin",
          createdAtMs: clock.wallMs(),
        },
        featureLevel: FEATURE_LEVEL,
      },
      asked: { ...asked, member: memberId },
    };
    const entries = bootstrapEntries(memberId, encodeCommand(command));
    formStore({
      databasePath: this.#paths.database,
      clusterId,
      memberId,
      entries,
      rules: { apply },
    });
    log.info("member.formed", { clusterId, memberId, clusterName });
    await this.#startControlPlane(memberId, 0 as LogIndex);
    return ok({ clusterId, memberId, token: formatToken(token), caPem: authority.certificatePem });
  }

  async #join(request: JoinRequest): Promise<Result<Joined, Refusal>> {
    const { config, log } = this.#options;
    const token = parseJoinToken(request.token);
    if (!token.ok) return err(refusal(422, "invalid-request", token.error));
    const key = await createKeyAndRequest(config.name);
    const { apiAddress, peerAddress, postgresAddress, kind, tags } = this.#asMember(newId() as MemberId);
    const admitted = await requestAdmission({
      address: request.address,
      token: token.value,
      expectedName: request.expectedName,
      joiner: {
        csrPem: key.csrPem,
        name: config.name,
        hosts: [...this.#hosts()],
        addresses: { api: apiAddress, peer: peerAddress, postgres: postgresAddress },
        kind,
        tags,
      },
    });
    if (!admitted.ok) return admitted;
    const { clusterName, caPem, certificatePem, trustedPem = caPem } = admitted.value;
    const clusterId = admitted.value.clusterId as ClusterId;
    const memberId = admitted.value.memberId as MemberId;
    const promotableFrom = admitted.value.promotableFrom as LogIndex;
    const peers = admitted.value.peers.map((peer) => ({ id: peer.id as MemberId, address: peer.address }));
    writeMemberTls(config.dataDir, { caPem: trustedPem, certificatePem, privateKeyPem: key.privateKeyPem });
    const { recoveryEpoch = 0 } = admitted.value;
    const databasePath = this.#paths.database;
    this.#recoveryEpoch = recoveryEpoch;
    joinStore({ databasePath, clusterId, memberId, promotableFrom, peers, recoveryEpoch });
    log.info("member.joined", { clusterId, memberId, clusterName, address: request.address });
    await this.#startControlPlane(memberId, promotableFrom);
    return ok({ clusterId, clusterName, memberId });
  }

  /** Any member admits: the authority's key is part of what is agreed, and so is who was let in. */
  async #admit(request: AdmitRequest): Promise<Result<Admission, Refusal>> {
    const { clock } = this.#options;
    const consensus = this.#plane?.consensus;
    if (consensus === undefined) return err(refusal(503, "not-formed", "This member belongs to no cluster."));
    const memberId = newId() as MemberId;
    const { authority, clusterId, name: clusterName } = consensus.state;
    const subject = { memberId, name: request.name, hosts: request.hosts, clusterId };
    const signed = await signMember(authority, request.csrPem, subject, clock.wallMs());
    if (!signed.ok) return err(refusal(422, "invalid-request", signed.error));
    const member: Member = {
      id: memberId,
      name: request.name,
      kind: request.kind,
      apiAddress: request.addresses.api,
      peerAddress: request.addresses.peer,
      postgresAddress: request.addresses.postgres,
      tags: request.tags,
      data: "none",
    };
    const command: Command = {
      id: newId(),
      atMs: clock.wallMs(),
      by: `join-token ${request.tokenId}`,
      change: { kind: "add-member", member, joinTokenId: request.tokenId },
      ...askedFor(consensus.state, request.asked),
    };
    const proposed = await consensus.propose(command, ADMIT_DEADLINE_MS);
    if (proposed.kind === "unknown") return err(refusal(504, "unknown-outcome", proposed.reason));
    if (proposed.kind === "not-proposed") return err(refusal(503, "no-leader", proposed.reason));
    if (proposed.kind === "overloaded") return err(refusal(503, "overloaded", proposed.reason));
    if (!proposed.outcome.ok) {
      const { code, message, hint } = proposed.outcome;
      return err(refusal(409, code, message, hint));
    }
    return ok({
      clusterId,
      clusterName,
      memberId,
      caPem: authority.certificatePem,
      // As of when it was let in: while the authority is being replaced, members show certificates of either.
      trustedPem: trustedAuthorities(consensus.state)
        .map(({ certificatePem }) => certificatePem)
        .join(""),
      certificatePem: signed.value,
      peers: consensus.state.members
        .filter(({ id }) => id !== memberId)
        .map(({ id, name, peerAddress }) => ({ id, name, address: peerAddress })),
      promotableFrom: consensus.appliedIndex,
      recoveryEpoch: this.#recoveryEpoch,
    });
  }

  async #startControlPlane(memberId: MemberId, readyFromIndex: LogIndex): Promise<void> {
    this.#memberId = memberId;
    const { config, clock, log, version } = this.#options;
    const tls = readMemberTls(config.dataDir);
    const consensus = await startConsensus({
      databasePath: this.#paths.database,
      memberId,
      credentials: {
        certificatePem: tls.certificatePem,
        privateKeyPem: tls.privateKeyPem,
        authorityPem: tls.caPem,
      },
      listen: formatHostPort(config.peer.listen),
      clock,
      seed: systemRandom.integer(0, 2 ** 31 - 1),
      log,
      onFatal: (exitCode, message) => this.#onFatal(exitCode, message),
      readyFromIndex,
      signal: this.#startingPlane.signal,
    });
    if (featureLevelOf(consensus.state) > FEATURE_LEVEL) {
      await consensus.close();
      throw new CannotStart(
        `this cluster has agreed on feature level ${featureLevelOf(consensus.state)}, and release ${version} understands up to ${FEATURE_LEVEL}: install the release that it ran before`,
      );
    }
    const supervisor =
      config.postgres === null
        ? null
        : this.#supervisorLink(config.postgres, this.#howToSupervise(config.postgres));
    const certificates = this.#certificates(consensus, memberId, supervisor);
    // Before anything is said to anybody: after a long absence the certificate may have ended.
    await certificates.look();
    const material = apiTls(readMemberTls(config.dataDir), this.#own?.present ?? null);
    const listener = defined(this.#listener, "the API listens before the control plane starts");
    const shown = await listener.renewTls(material);
    if (!shown.ok) throw new CannotStart(shown.error);
    this.#openDoor(consensus, material);
    const probe = config.postgres === null ? null : this.#probe(config.postgres);
    const local =
      config.postgres === null || supervisor === null || probe === null
        ? null
        : localPostgres(config.postgres, supervisor, probe);
    const hooks = this.#hooks(consensus, memberId);
    const leaderLoop = new LeaderLoop({
      selfId: memberId,
      consensus,
      clock,
      log,
      newId,
      grantHere: (grant) => takeLease(memberLoop, grant, log),
      mayHandOver: (primaryId, targetId) =>
        mayHandOver(consensus, { id: memberId, hooks }, primaryId, memberName(consensus.state, targetId)),
    });
    const memberLoop: MemberLoop = new MemberLoop({
      selfId: memberId,
      bootId: newId(),
      life: this.#beginLife(),
      version,
      consensus,
      leading: () => leaderLoop.decision,
      local,
      hooks,
      breakGlass: () => breakGlass?.status ?? null,
      declared: () => catalogLoop?.status ?? null,
      certificates: () => certificates.status,
      syslog: () => this.#courier?.status ?? null,
      clock,
      log,
    });
    const breakGlass: BreakGlassLoop | null =
      local === null
        ? null
        : new BreakGlassLoop({
            selfId: memberId,
            consensus,
            supervisor: local.supervisor,
            roles: new BreakGlassRoles(local.settings),
            status: () => memberLoop.status,
            clock,
            log,
          });
    const catalogLoop = this.#catalogLoop(consensus, memberId, () => memberLoop.status?.postgres ?? null);
    this.#plane = {
      memberId,
      certificates,
      consensus,
      memberLoop,
      breakGlass,
      leaderLoop,
      supervisor,
      probe,
      hooks,
      catalogLoop,
    };
    consensus.onCall(async (_from, method, payload) => {
      if (method === FORKS_METHOD) return { forks: await forksHere(supervisor) };
      if (method === MACHINE_METHOD) return machineHere(supervisor);
      if (method === RELOAD_METHOD) return reloadHere(supervisor);
      const askable = { id: memberId, supervisor, probe };
      if (method === SETTINGS_METHOD) return settingsHere(askable, payload);
      if (method === DECLARED_METHOD) return declaredHere(catalogLoop);
      if (method === TRY_METHOD) return tryHere(askable, payload);
      if (method === TRY_ACCESS_METHOD) return { trial: await tryAccessHere(supervisor, payload) };
      if (method === HAND_OVER_METHOD) return mayHandOverHere(hooks, payload);
      if (method !== LEASE_METHOD) throw new Error(`no member answers '${method}'`);
      await memberLoop.takeLease(parseLeaseGrant(payload));
      return {};
    });
    certificates.start();
    this.#courier?.attach(consensus, memberId);
    memberLoop.start();
    breakGlass?.start();
    catalogLoop?.start();
    leaderLoop.start();
  }

  /** To whom it is open is agreed, and may change at any time. */
  #openDoor(consensus: MemberConsensus, { cert, key }: TlsMaterial): void {
    const door = this.#door;
    if (door === null) return;
    door.show(cert, key);
    const trust = () => door.trust(consensus.state.spec.identity?.clientCertificates?.authorities ?? null);
    consensus.onChange(trust);
    trust();
  }

  #certificates(
    consensus: MemberConsensus,
    memberId: MemberId,
    supervisor: SupervisorLink | null,
  ): CertificateKeeper {
    const { config, clock, log } = this.#options;
    const listener = defined(this.#listener, "the API listens before the control plane starts");
    return new CertificateKeeper({
      dataDirectory: config.dataDir,
      subject: { memberId, name: config.name, hosts: this.#hosts() },
      cluster: () => consensus.state,
      own: this.#own,
      takers: [
        {
          name: "the peer transport",
          showsOwn: false,
          take: async ({ certificatePem, privateKeyPem, caPem }) =>
            ok(consensus.renew({ certificatePem, privateKeyPem, authorityPem: caPem })),
        },
        {
          name: "the API",
          showsOwn: true,
          take: (tls, own) => {
            const shown = apiTls(tls, own);
            this.#door?.show(shown.cert, shown.key);
            return listener.renewTls(shown);
          },
        },
        {
          name: "PostgreSQL",
          showsOwn: false,
          take: async () => supervisor?.renewCertificates() ?? ok(undefined),
        },
      ],
      installed: supervisor === null ? null : () => supervisor.installed,
      earliness: systemRandom.integer(0, 1000) / 1000,
      clock,
      log,
    });
  }

  #catalogLoop(
    consensus: Consensus,
    memberId: MemberId,
    postgres: () => PostgresStatus | null,
  ): CatalogLoop | null {
    const { config, clock, log } = this.#options;
    if (config.postgres === null) return null;
    return new CatalogLoop({
      selfId: memberId,
      consensus,
      catalog: new Catalog(this.#serverHere(config.postgres)),
      postgres,
      noteInForce: (revision) => noteInForce(consensus, memberId, clock.wallMs(), revision, log),
      clock,
      log,
    });
  }

  #beginLife(): number {
    const { config, clock, log } = this.#options;
    const { number, problem } = beginLife(config.dataDir, clock.wallMs());
    if (problem !== null) log.warn("member.life-not-kept", { life: number, problem });
    return number;
  }

  #hooks(consensus: Consensus, memberId: MemberId): Hooks | null {
    const { config, clock, log } = this.#options;
    if (config.hooks === null || config.postgres === null) return null;
    return new Hooks({
      config: config.hooks,
      user: config.postgres.user,
      member: config.name,
      cluster: () => consensus.state.name,
      toldRoleFile: join(config.dataDir, "told-role"),
      toldChangesFile: join(config.dataDir, "told-changes"),
      onResult: (result) => void noteHook(consensus, memberId, clock.wallMs(), result, log),
      clock,
      log,
    });
  }

  #onFatal(exitCode: number, message: string): void {
    const { onFatal } = this.#options;
    if (exitCode !== EXIT_REMOVED) {
      onFatal(exitCode, message);
      return;
    }
    // Whatever goes wrong on the way: this member must end.
    void this.#retire().finally(() => onFatal(exitCode, message));
  }

  /** This member was removed: nobody shall read from a server that follows no more. Its data is left as it is. */
  async #retire(): Promise<void> {
    const { config, log } = this.#options;
    const plane = this.#plane;
    await plane?.certificates.stop();
    await plane?.leaderLoop.stop();
    await plane?.breakGlass?.stop();
    await plane?.memberLoop.stop();
    await plane?.catalogLoop?.stop();
    if (config.postgres === null) return;
    const supervisor = plane?.supervisor ?? this.#supervisorLink(config.postgres, null);
    try {
      const stop = { kind: "stop", mode: "fast", deadlineMs: RETIRE_STOP_MS } as const;
      const answer = await supervisor.request(stop, 2 * RETIRE_STOP_MS);
      log.info("member.retired", { postgres: answer.ok ? "stopped" : answer.message });
    } catch (error) {
      // Without a supervisor there is no PostgreSQL of ours either.
      log.info("member.retired", { postgres: error instanceof Error ? error.message : String(error) });
    }
    supervisor.close();
  }

  #supervisorLink(postgres: PostgresConfig, start: SupervisorLinkOptions["start"]): SupervisorLink {
    const { config, environment, clock, log } = this.#options;
    return new SupervisorLink({
      socketPath: config.supervisorSocket,
      dataDirectory: postgres.dataDir,
      user: postgres.user,
      start,
      tls: () => readMemberTls(config.dataDir),
      environment,
      clock,
      log,
    });
  }

  /**
   * How to start a supervisor where none answers. Null in a pod: PostgreSQL's programs are in another container, and what
   * runs there is waited for; the configuration names its socket.
   */
  #howToSupervise(postgres: PostgresConfig): { command: readonly string[]; binDirectory: string } | null {
    const { config, environment, selfCommand } = this.#options;
    const isNamed = config.supervisorSocket !== defaultSocketPath(postgres.dataDir);
    const installation =
      postgres.binDir === null
        ? findInstallation(environment["PATH"] ?? "")
        : inspectInstallation(postgres.binDir);
    if (installation.ok) {
      const { mode, device } = config.watchdog;
      const watchdog = mode === "off" ? [] : ["--watchdog", mode, "--watchdog-device", device];
      const command = [...selfCommand, "supervise", ...watchdog];
      return { command, binDirectory: installation.value.binDirectory };
    }
    if (postgres.binDir === null && isNamed) return null;
    throw new CannotStart(installation.error);
  }

  #probe(postgres: PostgresConfig): Probe {
    return new Probe(this.#serverHere(postgres));
  }

  #serverHere(postgres: PostgresConfig): ProbeOptions {
    return {
      socketDirectory: postgres.socketDir,
      port: postgres.listen.port,
      user: "postgres",
      database: "postgres",
      clock: this.#options.clock,
    };
  }

  #asMember(id: MemberId): Member {
    const { config } = this.#options;
    return {
      id,
      name: config.name,
      kind: config.postgres === null ? "witness" : "data",
      apiAddress: config.api.advertise,
      peerAddress: config.peer.advertise,
      // A witness has no PostgreSQL: nobody asks for its address.
      postgresAddress: config.postgres?.advertise ?? config.api.advertise,
      tags: config.tags,
      data: "none",
    };
  }

  /** Every name under which this member may be reached: its certificate carries them. */
  #hosts(): readonly string[] {
    const { api, peer, postgres } = this.#options.config;
    const addresses = [api.advertise, peer.advertise, ...(postgres === null ? [] : [postgres.advertise])];
    return [
      ...new Set(
        addresses.map((address) => address.slice(0, address.lastIndexOf(":")).replace(/^\[(.*)\]$/, "$1")),
      ),
    ];
  }
}

const ADMIT_DEADLINE_MS = 10_000;
/** How long sessions may hold up the stop of a removed member's PostgreSQL before it becomes an immediate one. */
const RETIRE_STOP_MS = 10_000;

const PEER_PORT_HINT =
  "Nothing was changed. Stop what uses it, or give [peer] listen in guacamole.toml (GUACAMOLE_PEER_LISTEN) another port and restart.";

/** To this member itself, as a call would bring it to another. */
function takeLease(memberLoop: MemberLoop, grant: LeaseGrant, log: Log): void {
  memberLoop.takeLease(grant).catch((error: unknown) => {
    log.warn("member.lease-lost", { epoch: grant.epoch, error: String(error) });
  });
}

/** For the record. Where it cannot be agreed on, the member's own log has it. */
async function noteHook(
  consensus: Consensus,
  memberId: MemberId,
  atMs: number,
  { hook, isOk, attempts, detail }: HookResult,
  log: Log,
): Promise<void> {
  const change = { kind: "note-hook", memberId, hook, isOk, attempts, detail } as const;
  if (!isUnderstoodByAll(consensus.state, change)) return;
  const by = memberName(consensus.state, memberId);
  try {
    const noted = await consensus.propose({ id: newId(), atMs, by, change }, NOTE_DEADLINE_MS);
    if (noted.kind !== "applied") log.warn("hook.not-recorded", { hook, why: noted.reason });
  } catch (error) {
    log.warn("hook.not-recorded", { hook, why: String(error) });
  }
}

/** From then on what differs is drift. Where it cannot be agreed on now, it is tried at the next look. */
async function noteInForce(
  consensus: Consensus,
  memberId: MemberId,
  atMs: number,
  revision: number,
  log: Log,
): Promise<void> {
  const by = memberName(consensus.state, memberId);
  const change = { kind: "note-declared", revision } as const;
  try {
    await consensus.propose({ id: newId(), atMs, by, change }, NOTE_DEADLINE_MS);
  } catch (error) {
    log.warn("declared.not-noted", { revision, why: String(error) });
  }
}

const NOTE_DEADLINE_MS = 30_000;

function localPostgres(postgres: PostgresConfig, supervisor: SupervisorLink, probe: Probe): LocalPostgres {
  return {
    supervisor,
    probe,
    settings: {
      listenAddresses: postgres.listen.host,
      port: postgres.listen.port,
      socketDirectory: postgres.socketDir,
    },
    hashSettings,
  };
}

function asAskable({ memberId, supervisor, probe }: ControlPlane): AskablePostgres {
  return { id: memberId, supervisor, probe };
}

/** What the API shows: the owner's certificate, and the member's to joiners, who know the cluster's authority alone. */
function apiTls(member: MemberTls, own: OwnCertificate | null): TlsMaterial {
  return own === null ? keyed(member) : { cert: own.cert, key: own.key, ofCluster: keyed(member) };
}

/** @throws {CannotStart} if the files cannot be used. */
function readOwn(files: CertificateFiles | null): OwnCertificateFiles | null {
  const own = files === null ? null : OwnCertificateFiles.read(files);
  if (own?.ok === false) throw new CannotStart(own.error);
  return own?.value ?? null;
}

function keyed({
  certificatePem,
  privateKeyPem,
}: {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}) {
  return { cert: certificatePem, key: privateKeyPem };
}

function courierOf({ config, clock, log, version }: MemberProcessOptions): AuditCourier | null {
  const { syslog } = config;
  if (syslog === null) return null;
  return new AuditCourier({
    config: syslog,
    open: () => openSyslog(syslog, clock),
    sentFile: join(config.dataDir, "audit-sent"),
    hostName: hostFacts().hostName,
    version,
    processId: process.pid,
    clock,
    log,
  });
}

function shortId(): string {
  return newId().slice(0, 8);
}

function refusal(
  status: Refusal["status"],
  code: string,
  message: string,
  hint: string | null = null,
): Refusal {
  return { status, code, message, hint };
}
