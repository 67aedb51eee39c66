// Somebody else's login: signs tokens with keys of its own and publishes their public side as a key set.

import { generateKeyPairSync, sign } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

const KINDS = {
  RS256: ["rsa", { modulusLength: 2048 }],
  ES256: ["ec", { namedCurve: "P-256" }],
  EdDSA: ["ed25519", {}],
};

/** A new key of this kind, under this name. */
export function newKey(kid, alg = "RS256") {
  const { publicKey, privateKey } = generateKeyPairSync(...KINDS[alg]);
  return { kid, alg, privateKey, jwk: { ...publicKey.export({ format: "jwk" }), kid, alg, use: "sig" } };
}

/** A token for `sub`, good for a minute. */
export function tokenFor(sub, key, claims = {}) {
  const exp = Math.floor(Date.now() / 1000) + 60;
  const parts = [{ typ: "JWT", alg: key.alg, kid: key.kid }, { sub, exp, iss: "peers", aud: "rowcast", ...claims }];
  const signed = parts.map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
  const digest = key.alg === "EdDSA" ? null : "sha256";
  const signature = sign(digest, signed, { key: key.privateKey, dsaEncoding: "ieee-p1363" });
  return `${signed}.${signature.toString("base64url")}`;
}

/** Serves a key set on this machine. */
export class Issuer {
  /** How often the set was asked for. */
  asked = 0;
  #keys;
  #server;

  static async start(...keys) {
    const issuer = new Issuer();
    issuer.publish(...keys);
    issuer.#server = createServer((_, response) => {
      issuer.asked += 1;
      response.setHeader("Content-Type", "application/json");
      response.end(JSON.stringify({ keys: issuer.#keys.map(({ jwk }) => jwk) }));
    });
    issuer.#server.listen(0, "127.0.0.1");
    await once(issuer.#server, "listening");
    return issuer;
  }

  /** From now on these are its keys. */
  publish(...keys) {
    this.#keys = keys;
  }

  /** What the server must be told to believe it. */
  get settings() {
    return {
      ROWCAST_JWT_JWKS_URL: `http://127.0.0.1:${this.#server.address().port}/jwks.json`,
      ROWCAST_JWT_JWKS_REFETCH: "1s",
      ROWCAST_JWT_ISSUER: "peers",
      ROWCAST_JWT_AUDIENCE: "rowcast",
    };
  }

  stop() {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}
