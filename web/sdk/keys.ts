// The device's keys: in the browser's key store where there is one, else in our own code (plain
// http on a local network has no crypto.subtle).

import { ed25519, x25519 } from '@noble/curves/ed25519.js';
import { type Bytes, toBase64Url } from './bytes';
import type { PublicKey } from './wire';

/** As it is kept in IndexedDB; a CryptoKey is kept as such and never leaves the browser. */
export interface DeviceKey {
  public: PublicKey;
  sign: CryptoKey | Bytes;
  agree: CryptoKey | Bytes;
}

export async function makeKey(): Promise<DeviceKey> {
  if (crypto.subtle) {
    try {
      const sign = (await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify'])) as CryptoKeyPair;
      const agree = (await crypto.subtle.generateKey('X25519', false, ['deriveBits'])) as CryptoKeyPair;
      const raw = async (key: CryptoKey) => toBase64Url(new Uint8Array(await crypto.subtle.exportKey('raw', key)));
      return {
        public: { sign: await raw(sign.publicKey), agree: await raw(agree.publicKey) },
        sign: sign.privateKey,
        agree: agree.privateKey,
      };
    } catch {
      // An engine without these curves: the code below serves everywhere.
    }
  }
  const sign = ed25519.keygen();
  const agree = x25519.keygen();
  return {
    public: { sign: toBase64Url(sign.publicKey), agree: toBase64Url(agree.publicKey) },
    sign: new Uint8Array(sign.secretKey),
    agree: new Uint8Array(agree.secretKey),
  };
}

export async function signWith(key: DeviceKey, message: Bytes): Promise<string> {
  if (key.sign instanceof Uint8Array) return toBase64Url(ed25519.sign(message, key.sign));
  return toBase64Url(new Uint8Array(await crypto.subtle.sign('Ed25519', key.sign, message)));
}
