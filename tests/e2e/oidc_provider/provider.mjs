// A real OpenID provider for tests, on 127.0.0.1 at a free port; its first line on stdout is its issuer.
// Whoever comes to log in is whom `login_hint` (JSON: sub, groups, amr, acr, claims) says: for tests only.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { once } from 'node:events';

import Provider from 'oidc-provider';

const people = new Map();

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
  ],
  scopes: ['openid', 'offline_access'],
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
  findAccount: (ctx, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  async loadExistingGrant(ctx) {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope('openid offline_access');
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

const server = createServer();
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, configuration);
const answer = provider.callback();

async function logIn(request, response) {
  const { params, prompt } = await provider.interactionDetails(request, response);
  const result = { consent: {} };
  if (prompt.name === 'login') {
    const person = JSON.parse(params.login_hint);
    people.set(person.sub, person);
    result.login = { accountId: person.sub, amr: person.amr, acr: person.acr ?? undefined };
  }
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

server.on('request', (request, response) => {
  if (!request.url.startsWith('/interaction/')) return answer(request, response);
  return logIn(request, response).catch((error) => {
    response.statusCode = 500;
    response.end(String(error));
  });
});

process.on('SIGTERM', () => process.exit(0));
console.log(issuer);
