// A visit with the TypeScript SDK 1.x; stdin and stdout as told in visits.py.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { visit } from "./visit.mjs";

await visit((asked) => ({
  client: new Client({ name: "gatebook-tests-typescript-v1", version: "1.0.0" }),
  transport: new StreamableHTTPClientTransport(new URL(asked.url), {
    requestInit: { headers: { Authorization: `Bearer ${asked.token}` } },
  }),
  protocol: (_client, transport) => transport.protocolVersion,
}));
