/** What is remembered of a certificate. The key never was here. */
export interface RoleCertificate {
  /** Hexadecimal, as in the certificate. */
  readonly serial: string;
  readonly role: string;
  /** SHA-256 of the certificate of the authority that signed it, hexadecimal. */
  readonly authority: string;
  readonly by: string;
  readonly atMs: number;
  readonly expiresAtMs: number;
}

/** The latest, of those that have not ended. The audit trail tells of all. */
export const ROLE_CERTIFICATES_KEPT = 100;
