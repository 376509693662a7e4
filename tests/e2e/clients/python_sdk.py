"""A visit with the Python SDK; stdin and stdout as told in visits.py."""

import asyncio
import json
import sys
from typing import Any

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

MODES = {"auto": "auto", "legacy": "legacy", "modern": "2026-07-28"}


async def visit(asked: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"protocol": None, "tools": [], "result": None, "error": None}
    step = "connect"
    try:
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {asked['token']}"}, timeout=30) as http,
            Client(streamable_http_client(asked["url"], http_client=http), mode=MODES[asked["era"]]) as client,
        ):
            told["protocol"] = client.protocol_version
            step = "list"
            told["tools"] = await all_tools(client)
            step = "call"
            if asked["tool"] is not None:
                result = await client.call_tool(asked["tool"], asked["arguments"])
                told["result"] = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    except Exception as failure:
        told["error"] = {"at": step, **describe(innermost(failure))}
    return told


async def all_tools(client: Client) -> list[str]:
    names: list[str] = []
    cursor: str | None = None
    while True:
        page = await client.list_tools(cursor=cursor)
        names += [tool.name for tool in page.tools]
        cursor = page.next_cursor
        if cursor is None:
            return names


def innermost(failure: BaseException) -> BaseException:
    """The error that task groups wrapped."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure


def describe(failure: BaseException) -> dict[str, Any]:
    match failure:
        case MCPError():
            return {"code": failure.error.code, "message": failure.error.message}
        case httpx2.HTTPStatusError():
            return {"code": failure.response.status_code, "message": str(failure)}
        case _:
            return {"code": None, "message": f"{type(failure).__name__}: {failure}"}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(visit(json.load(sys.stdin)))))
