// A login and a visit with the TypeScript SDK 1.x; lines as told in login.mjs.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { logIn } from "./login.mjs";

await logIn(
  (asked, authProvider) => ({
    client: new Client({ name: "gatebook-tests-typescript-v1", version: "1.0.0" }),
    transport: new StreamableHTTPClientTransport(new URL(asked.url), { authProvider }),
  }),
  (transport, query) => transport.finishAuth(query.get("code")),
);
