// What is hashed and signed, byte for byte as the Rust side does it; both read the same vectors.

import { ed25519 } from '@noble/curves/ed25519.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { type Bytes, fromBase64Url, toBase64Url, utf8 } from './bytes';
import type { PublicKey } from './wire';

/** A label and length-prefixed parts. */
export function transcript(label: string, ...parts: Uint8Array[]): Bytes {
  const all = [utf8(label), ...parts];
  const out = new Uint8Array(all.reduce((n, p) => n + 4 + p.length, 0));
  const view = new DataView(out.buffer);
  let at = 0;
  for (const part of all) {
    view.setUint32(at, part.length);
    out.set(part, at + 4);
    at += 4 + part.length;
  }
  return out;
}

function unixMsBytes(unixMs: number): Bytes {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(unixMs));
  return bytes;
}

export function keyHash(key: PublicKey): Uint8Array {
  return sha256(transcript('belay.v1/key', fromBase64Url(key.sign), fromBase64Url(key.agree)));
}

export function commitment(key: PublicKey, opening: string): string {
  return toBase64Url(sha256(transcript('belay.v1/commit', keyHash(key), fromBase64Url(opening))));
}

export interface Comparison {
  host: PublicKey;
  phone: PublicKey;
  rendezvous: string;
  hostNonce: string;
  opening: string;
  /** The one-time secret of the QR; empty when the code was typed. */
  secret: string;
}

/** Six decimal digits, equal on both screens unless somebody sits in between. */
export function comparisonCode(c: Comparison): string {
  const hash = sha256(
    transcript(
      'belay.v1/compare',
      keyHash(c.host),
      keyHash(c.phone),
      fromBase64Url(c.rendezvous),
      fromBase64Url(c.hostNonce),
      fromBase64Url(c.opening),
      utf8(c.secret),
    ),
  );
  const number = new DataView(hash.buffer, hash.byteOffset).getBigUint64(0);
  return String(number % 1_000_000n).padStart(6, '0');
}

export function authTranscript(origin: string, session: string, member: string, nonce: string, token: string): Bytes {
  return transcript(
    'belay.v1/auth',
    utf8(origin),
    fromBase64Url(session),
    fromBase64Url(member),
    utf8(nonce),
    sha256(utf8(token)),
  );
}

/** Checks that the host approved this very key. */
export function approvedByHost(
  host: PublicKey,
  request: string,
  phone: PublicKey,
  expiresAt: number,
  signature: string,
): boolean {
  const signed = transcript(
    'belay.v1/decision',
    fromBase64Url(request),
    Uint8Array.of(1),
    keyHash(phone),
    unixMsBytes(expiresAt),
  );
  try {
    return ed25519.verify(fromBase64Url(signature), signed, fromBase64Url(host.sign), { zip215: false });
  } catch {
    return false;
  }
}
