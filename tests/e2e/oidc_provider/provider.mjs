// A real OpenID provider for tests, at a free port of loopback; its first line on stdout is its issuer.
// node provider.mjs [HOST [CALLBACK ...]]: HOST is 127.0.0.1 or localhost; CALLBACKs are where the client `gatebook` may return to.
// Whoever comes to log in is whom `login_hint` (JSON: sub, groups, amr, acr, claims) says, or, without one, who is written into the
// login page's only field, in the same form: for tests only. `max_age` and the like are answered as the provider answers them.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { once } from 'node:events';

import Provider from 'oidc-provider';

const [host = '127.0.0.1', ...callbacks] = process.argv.slice(2);
const people = new Map();
const TOLD = ['sub', 'groups', 'amr', 'acr', 'auth_time', 'oid', 'tid', 'hd', 'email', 'email_verified', 'name', 'preferred_username',
  'idtyp', '_claim_names', '_claim_sources', 'hasgroups'];

function privateJwk(type, options, alg) {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: randomBytes(8).toString('hex') };
}

const configuration = {
  jwks: { keys: [privateJwk('ec', { namedCurve: 'P-256' }, 'ES256'), privateJwk('rsa', { modulusLength: 2048 }, 'RS256')] },
  cookies: { keys: [randomBytes(32).toString('hex')] },
  clients: [
    {
      client_id: 'mcp-client',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      redirect_uris: ['http://127.0.0.1/callback'],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
    },
    { client_id: 'bot', client_secret: 'bot-secret', redirect_uris: [], response_types: [], grant_types: ['client_credentials'] },
    ...(callbacks.length === 0 ? [] : [
      {
        client_id: 'gatebook',
        client_secret: 'gatebook-secret-of-tests',
        redirect_uris: callbacks,
        response_types: ['code'],
        grant_types: ['authorization_code', 'refresh_token'],
        id_token_signed_response_alg: 'RS256',
      },
    ]),
  ],
  scopes: ['openid', 'offline_access', 'profile', 'email', 'groups'],
  claims: { openid: TOLD },
  conformIdTokenClaims: false,
  ttl: { AccessToken: 300, ClientCredentials: 300, AuthorizationCode: 60, IdToken: 300, Grant: 3600, Interaction: 300, Session: 3600, RefreshToken: 3600 },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (ctx, resource) => ({
        scope: 'mcp',
        audience: resource,
        accessTokenTTL: 300,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (ctx, sub) => (people.get(sub)?.disabled ? undefined : { accountId: sub, claims: () => told(sub) }),
  async loadExistingGrant(ctx) {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope('openid offline_access profile email groups');
    for (const resource of [ctx.oidc.params.resource].flat().filter(Boolean)) grant.addResourceScope(resource, 'mcp');
    await grant.save();
    return grant;
  },
  extraTokenClaims(ctx, token) {
    const person = people.get(token.accountId);
    if (person === undefined) return undefined;
    const code = ctx.oidc.entities.AuthorizationCode;
    return { groups: person.groups, amr: code?.amr, acr: code?.acr, auth_time: code?.authTime, sid: token.sessionUid, ...person.claims };
  },
};

function told(sub) {
  const person = people.get(sub);
  if (person === undefined) return { sub };
  return { sub, groups: person.groups, amr: person.amr, acr: person.acr ?? undefined, auth_time: person.since, ...person.claims };
}

const server = createServer();
server.listen(0, host);
await once(server, 'listening');
const issuer = `http://${host}:${server.address().port}`;
const provider = new Provider(issuer, configuration);
const answer = provider.callback();

async function posted(request) {
  if (request.method !== 'POST') return undefined;
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return new URLSearchParams(Buffer.concat(pieces).toString()).get('person') ?? undefined;
}

async function logIn(request, response) {
  const { params, prompt } = await provider.interactionDetails(request, response);
  const result = { consent: {} };
  if (prompt.name === 'login') {
    const written = params.login_hint ?? (await posted(request));
    if (written === undefined) {
      response.setHeader('content-type', 'text/html');
      response.end('<!doctype html><title>Log in</title><form method="post"><input name="person"><button>Log in</button></form>');
      return;
    }
    const person = { ...JSON.parse(written), since: Math.floor(Date.now() / 1000) };
    people.set(person.sub, person);
    result.login = { accountId: person.sub, amr: person.amr, acr: person.acr ?? undefined };
  }
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

// What an administrator does there: POST /administrator with JSON: sub, and what of the person is other from now on (groups, disabled, claims);
// or { out: true }: nothing is answered but this, until { out: false }. It is answered with every token that was given so far.
let out = false;
const given = [];

provider.on('grant.success', (ctx) => given.push(ctx.body));

async function administer(request, response) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  const { sub, out: now, ...changed } = JSON.parse(Buffer.concat(pieces).toString());
  if (now !== undefined) out = now;
  else if (sub !== undefined) people.set(sub, { ...people.get(sub), ...changed });
  response.end(JSON.stringify(given));
}

server.on('request', (request, response) => {
  if (request.url === '/administrator') return administer(request, response);
  if (out) return request.socket.destroy();
  if (!request.url.startsWith('/interaction/')) return answer(request, response);
  return logIn(request, response).catch((error) => {
    response.statusCode = 500;
    response.end(String(error));
  });
});

process.on('SIGTERM', () => process.exit(0));
console.log(issuer);
