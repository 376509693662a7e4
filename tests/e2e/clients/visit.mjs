// What both TypeScript clients do once they are made: connect, list all tools, call one, print what came.
import { text } from "node:stream/consumers";

/** `make` takes the request from stdin and gives { client, transport, protocol(client, transport) }. */
export async function visit(make) {
  const asked = JSON.parse(await text(process.stdin));
  const told = { protocol: null, tools: [], result: null, error: null };
  const { client, transport, protocol } = make(asked);
  let step = "connect";
  try {
    await client.connect(transport);
    told.protocol = protocol(client, transport) ?? null;
    step = "list";
    told.tools = await allTools(client);
    step = "call";
    if (asked.tool !== null) {
      told.result = await client.callTool({ name: asked.tool, arguments: asked.arguments });
    }
  } catch (failure) {
    told.error = { at: step, ...describe(failure) };
  }
  await client.close();
  process.stdout.write(`${JSON.stringify(told)}\n`);
}

async function allTools(client) {
  const names = [];
  let cursor;
  do {
    const page = await client.listTools(cursor === undefined ? undefined : { cursor });
    names.push(...page.tools.map((tool) => tool.name));
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return names;
}

function describe(failure) {
  const code = [failure.code, failure.status, failure.cause?.status].find((value) => typeof value === "number");
  return { code: code ?? null, message: `${failure.name}: ${failure.message}` };
}
