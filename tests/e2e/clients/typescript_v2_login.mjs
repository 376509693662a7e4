// A login and a visit with the TypeScript SDK 2.x; lines as told in login.mjs.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { logIn } from "./login.mjs";

await logIn(
  (asked, authProvider) => ({
    client: new Client({ name: "gatebook-tests-typescript-v2", version: "1.0.0" }, { versionNegotiation: { mode: "auto" } }),
    transport: new StreamableHTTPClientTransport(new URL(asked.url), { authProvider }),
  }),
  (transport, query) => transport.finishAuth(query),
);
