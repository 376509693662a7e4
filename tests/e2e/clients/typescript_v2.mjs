// A visit with the TypeScript SDK 2.x; stdin and stdout as told in visits.py.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { visit } from "./visit.mjs";

const MODES = { auto: "auto", legacy: "legacy", modern: { pin: "2026-07-28" } };

await visit((asked) => ({
  client: new Client(
    { name: "gatebook-tests-typescript-v2", version: "1.0.0" },
    { versionNegotiation: { mode: MODES[asked.era] } },
  ),
  transport: new StreamableHTTPClientTransport(new URL(asked.url), {
    requestInit: { headers: { Authorization: `Bearer ${asked.token}` } },
  }),
  protocol: (client) => client.getNegotiatedProtocolVersion(),
}));
