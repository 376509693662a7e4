// What both TypeScript clients do to log in: connect without a token, be sent to log in, come back with the answer, and then a visit.
// Lines on stdin and stdout, one JSON object each:
//   in   {"url", "redirect", "client_id" or absent, "tool", "arguments"}
//   out  {"authorize": where the browser must go}        in  {"query": what came to `redirect` behind the question mark}
//   out  what visits.py tells of a visit, and {"registered": the client's id, "refreshable": whether there is a refresh token}
import { createInterface } from "node:readline";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const receive = async () => JSON.parse((await lines.next()).value);
const send = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

/** The SDK's OAuthClientProvider, in memory. */
class Keeper {
  constructor(asked) {
    this.redirectUrl = asked.redirect;
    this.clientMetadata = { client_name: "Test program", redirect_uris: [asked.redirect], token_endpoint_auth_method: "none" };
    this.client = asked.client_id === undefined ? undefined : { client_id: asked.client_id };
  }
  state() { return "state-of-the-test"; }
  clientInformation() { return this.client; }
  saveClientInformation(client) { this.client = client; }
  tokens() { return this.kept; }
  saveTokens(tokens) { this.kept = tokens; }
  redirectToAuthorization(url) { this.goTo = url.href; }
  saveCodeVerifier(verifier) { this.verifier = verifier; }
  codeVerifier() { return this.verifier; }
}

/** `make(asked, authProvider)` gives { client, transport }; `finish(transport, query)` takes what came back. */
export async function logIn(make, finish) {
  const asked = await receive();
  const keeper = new Keeper(asked);
  const told = { protocol: null, tools: [], result: null, error: null };
  let step = "connect";
  let made = make(asked, keeper);
  try {
    try {
      await made.client.connect(made.transport);
    } catch (failure) {
      if (keeper.goTo === undefined) throw failure;
      send({ authorize: keeper.goTo });
      const query = new URLSearchParams((await receive()).query);
      if (query.get("state") !== keeper.state()) throw new Error("another state came back");
      await finish(made.transport, query);
      made = make(asked, keeper);
      await made.client.connect(made.transport);
    }
    step = "list";
    told.tools = (await made.client.listTools()).tools.map((tool) => tool.name);
    step = "call";
    told.result = await made.client.callTool({ name: asked.tool, arguments: asked.arguments });
  } catch (failure) {
    told.error = { at: step, code: typeof failure.code === "number" ? failure.code : null, message: `${failure.name}: ${failure.message}` };
  }
  await made.client.close();
  send({ ...told, registered: keeper.client?.client_id ?? null, refreshable: Boolean(keeper.kept?.refresh_token) });
  process.exit(0);
}
