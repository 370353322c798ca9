/**
 * Encrypts values of the database with the member's key (AES-256-GCM, NIST SP 800-38D). Each value has a key of its own,
 * derived from 24 bytes of chance that stand before it: no number of values wears the member's key out, as one nonce taken
 * twice would.
 *
 * A value is: 1 byte version, 4 bytes that name the key, 24 bytes of chance, the ciphertext, 16 bytes of tag.
 */
import { createCipheriv, createDecipheriv, randomFillSync } from "node:crypto";

const VERSION = 1;
const SALT_AT = 5;
const TEXT_AT = SALT_AT + 24;
const TAG_BYTES = 16;
const ALGORITHM = "aes-256-gcm";
/** Used once by each derived key. */
const NONCE = new Uint8Array(12);

/** Whether it has the form of an encrypted value; JSON, as earlier releases wrote it, has not. */
export function isEncrypted(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array && value.byteLength >= TEXT_AT + TAG_BYTES && value[0] === VERSION;
}

export class RowCipher {
  readonly #key: Uint8Array;
  readonly #header: Uint8Array;

  /** @param key 32 bytes. */
  constructor(key: Uint8Array) {
    this.#key = key;
    const name = new Bun.CryptoHasher("sha256").update("guacamole store key\n").update(key).digest();
    this.#header = Uint8Array.of(VERSION, ...name.subarray(0, SALT_AT - 1));
  }

  /** @param place where the value stands: elsewhere it cannot be read. */
  encrypt(place: string, value: Uint8Array): Uint8Array {
    const sealed = new Uint8Array(TEXT_AT + value.byteLength + TAG_BYTES);
    sealed.set(this.#header);
    const salt = randomFillSync(sealed.subarray(SALT_AT, TEXT_AT));
    const cipher = createCipheriv(ALGORITHM, this.#derive(salt), NONCE);
    cipher.setAAD(Buffer.from(place));
    sealed.set(cipher.update(value), TEXT_AT);
    cipher.final();
    sealed.set(cipher.getAuthTag(), TEXT_AT + value.byteLength);
    return sealed;
  }

  /** Null for what is not what was encrypted at this place with this key. */
  decrypt(place: string, sealed: unknown): Uint8Array | null {
    if (!isEncrypted(sealed) || this.isOfOtherKey(sealed)) return null;
    const decipher = createDecipheriv(ALGORITHM, this.#derive(sealed.subarray(SALT_AT, TEXT_AT)), NONCE);
    decipher.setAAD(Buffer.from(place));
    const textEnd = sealed.byteLength - TAG_BYTES;
    decipher.setAuthTag(sealed.subarray(textEnd));
    const value = decipher.update(sealed.subarray(TEXT_AT, textEnd));
    try {
      decipher.final();
      return value;
    } catch {
      // The tag does not hold.
      return null;
    }
  }

  /** Whether an encrypted value was encrypted with another key. */
  isOfOtherKey(sealed: Uint8Array): boolean {
    return this.#header.some((byte, at) => sealed[at] !== byte);
  }

  #derive(salt: Uint8Array): Uint8Array {
    return new Bun.CryptoHasher("sha256", this.#key).update(salt).digest();
  }
}
