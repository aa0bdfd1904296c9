import { ed25519 } from '@noble/curves/ed25519.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { describe, expect, it } from 'vitest';
import vectors from '../../crates/wire/vectors/proofs.json';
import { hex, toBase64Url } from '../sdk/bytes';
import { makeKey, signWith } from '../sdk/keys';
import { approvedByHost, authTranscript, commitment, comparisonCode, keyHash, transcript } from '../sdk/proof';

const v = vectors;
const comparison = (secret: string) =>
  comparisonCode({ host: v.host, phone: v.phone, rendezvous: v.rendezvous, hostNonce: v.host_nonce, opening: v.opening, secret });

describe('proofs', () => {
  it('are the bytes that the Rust side computes', () => {
    expect(toBase64Url(keyHash(v.host))).toBe(v.expected.host_key_hash);
    expect(commitment(v.phone, v.opening)).toBe(v.expected.commitment);
    expect(comparison(v.secret)).toBe(v.expected.code);
    expect(comparison('')).toBe(v.expected.code_without_secret);
    expect(hex(authTranscript(v.origin, v.session, v.member, v.nonce, v.token))).toBe(v.expected.auth);
  });

  it('accept an approval of this key only', () => {
    const host = ed25519.keygen();
    const key = { sign: toBase64Url(host.publicKey), agree: v.host.agree };
    const expires = new Uint8Array(8);
    new DataView(expires.buffer).setBigUint64(0, BigInt(v.expires_at));
    const request = Uint8Array.from({ length: 16 }, () => 113);
    const signed = transcript('belay.v1/decision', request, Uint8Array.of(1), keyHash(v.phone), expires);
    expect(hex(sha256(signed)), 'the bytes that the Rust side signs').toBe(v.expected.decision);
    const signature = toBase64Url(ed25519.sign(signed, host.secretKey));

    expect(approvedByHost(key, v.request, v.phone, v.expires_at, signature)).toBe(true);
    expect(approvedByHost(key, v.request, v.host, v.expires_at, signature)).toBe(false);
    expect(approvedByHost(key, v.request, v.phone, v.expires_at + 1, signature)).toBe(false);
    expect(approvedByHost(key, v.request, v.phone, v.expires_at, 'nonsense')).toBe(false);
  });

  it('work with and without the browser’s key store', async () => {
    const message = transcript('test');
    const stored = await makeKey();
    const plain = ed25519.keygen();
    const own = { ...stored, public: { ...stored.public, sign: toBase64Url(plain.publicKey) }, sign: new Uint8Array(plain.secretKey) };

    for (const key of [stored, own]) {
      const signature = await signWith(key, message);
      const bytes = Uint8Array.from(atob(signature.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
      const signer = Uint8Array.from(atob(key.public.sign.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
      expect(ed25519.verify(bytes, message, signer, { zip215: false })).toBe(true);
    }
  });
});
