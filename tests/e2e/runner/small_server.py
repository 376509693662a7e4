"""A small MCP server on standard input and output, quick to start, that does what a test tells it. Python's standard library alone.

    python small_server.py [--legacy | --dumb | --deaf] [--stubborn] [--calls FILE]

Both eras, or with `--legacy` the old one alone; `--dumb` reads and never answers, `--deaf` ends at once. Every call of a tool is written to
FILE before it is answered, one line each.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TOOLS = [
    "pid",
    "echo",
    "env",
    "file",
    "die",
    "hang",
    "wait",
    "child",
    "daemon",
    "halves",
    "shut",
    "leave",
    "complain",
    "greet",
    "ask",
    "change",
    "mark",
    "log",
    "write",
    "large",
]
MODERN = "2026-07-28"
META = {"io.modelcontextprotocol/serverInfo": {"name": "small", "version": "1"}}


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def notify(method: str, **params: Any) -> None:
    send({"method": method, "params": params})


class Server:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.held: list[Any] = []
        self.asked: dict[Any, Any] = {}
        self.modern = False
        self.mark = "Region"
        self.next_mark: str | None = None

    def hear(self, message: dict[str, Any]) -> None:
        if "method" not in message:
            request = self.asked.pop(message["id"])
            self.answer_text(request, json.dumps(message.get("result", message.get("error"))))
        elif "id" not in message:
            if message["method"] == "notifications/cancelled" and message["params"]["requestId"] in self.held:
                self.held.remove(message["params"]["requestId"])
                self.note(f"cancelled {message['params']['requestId']}")
        else:
            self.request(message)

    def note(self, line: str) -> None:
        if self.options.calls:
            with Path(self.options.calls).open("a") as file:
                file.write(line + "\n")

    def request(self, message: dict[str, Any]) -> None:
        request, method, params = message["id"], message["method"], message.get("params", {})
        if method == "initialize":
            info = {"name": "small", "version": "1"}
            caps: dict[str, Any] = {"tools": {"listChanged": True}, "logging": {}}
            send(
                {
                    "id": request,
                    "result": {"protocolVersion": params["protocolVersion"], "capabilities": caps, "serverInfo": info},
                }
            )
        elif method == "server/discover" and not self.options.legacy:
            self.modern = True
            self.answer(request, supportedVersions=[MODERN], capabilities={"tools": {}}, ttlMs=0, cacheScope="private")
        elif method == "tools/list":
            self.note("list")
            schema: dict[str, Any] = {
                "type": "object",
                "properties": {"region": {"type": "string", **({"x-mcp-header": self.mark} if self.mark else {})}},
            }
            tools = [{"name": name, "inputSchema": schema if name == "echo" else {"type": "object"}} for name in TOOLS]
            self.answer(request, tools=tools, **({"ttlMs": 0, "cacheScope": "private"} if self.modern else {}))
            if self.next_mark is not None:
                self.mark, self.next_mark = self.next_mark, None
                notify("notifications/tools/list_changed")
        elif method == "tools/call":
            self.note(f"call {params['name']}")
            self.call(request, params["name"], params.get("arguments", {}), params.get("_meta", {}))
        else:
            send({"id": request, "error": {"code": -32601, "message": "Method not found"}})

    def answer(self, request: Any, **result: Any) -> None:
        send(
            {"id": request, "result": {**result, **({"resultType": "complete", "_meta": META} if self.modern else {})}}
        )

    def answer_text(self, request: Any, text: str) -> None:
        self.answer(request, content=[{"type": "text", "text": text}])

    def call(self, request: Any, name: str, arguments: dict[str, Any], meta: dict[str, Any]) -> None:
        match name:
            case "pid":
                self.answer_text(request, str(os.getpid()))
            case "echo":
                if "progressToken" in meta:
                    notify("notifications/progress", progressToken=meta["progressToken"], progress=1)
                self.answer_text(request, json.dumps(arguments))
            case "env":
                self.answer_text(request, os.environ.get(arguments["name"], "not set"))
            case "file":
                path = Path(os.environ[arguments["name"]])
                self.answer_text(request, f"{len(path.read_bytes())} bytes, mode {path.stat().st_mode & 0o777:o}")
            case "die":
                os._exit(3)
            case "hang":
                self.held.append(request)
            case "wait":
                while not Path(arguments["path"]).exists():
                    time.sleep(0.01)
                self.answer_text(request, "waited")
            case "child":
                child = subprocess.Popen(
                    [sys.executable, "-c", "import time; time.sleep(600)"], stdin=subprocess.DEVNULL
                )
                self.answer_text(request, str(child.pid))
            case "daemon":
                far = subprocess.Popen(
                    [sys.executable, "-c", "import time; time.sleep(600)"],
                    stdin=subprocess.DEVNULL, start_new_session=True,
                )  # fmt: skip
                self.answer_text(request, str(far.pid))
            case "halves":
                whole = json.dumps({"jsonrpc": "2.0", "id": request, "result": {"content": []}})
                os.write(1, whole[: len(whole) // 2].encode())
                os._exit(0)
            case "shut":
                os.close(1)
                time.sleep(600)
            case "leave":
                if "progressToken" in meta:
                    notify("notifications/progress", progressToken=meta["progressToken"], progress=1)
                sys.exit(0)
            case "complain":
                print(arguments["backwards"][::-1], file=sys.stderr, flush=True)
                self.answer_text(request, "complained")
            case "greet":
                print("Welcome to the small server", flush=True)
                self.answer_text(request, "greeted")
            case "ask":
                self.asked["question-1"] = request
                send(
                    {"id": "question-1", "method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}}
                )
            case "change":
                self.answer_text(request, "changed")
                notify("notifications/tools/list_changed")
            case "mark":
                self.mark, self.next_mark = arguments.get("as", ""), arguments.get("next")
                if arguments.get("say"):  # before it answers: whoever has the answer counts on what was said
                    notify("notifications/tools/list_changed")
                self.answer_text(request, "marked")
            case "log":
                notify("notifications/message", level="info", data="a line")
                self.answer_text(request, "logged")
            case "write":
                Path(arguments["path"]).write_text("written")
                self.answer_text(request, "written")
            case "large":
                self.answer_text(request, "x" * arguments["chars"])


def main() -> None:
    parser = argparse.ArgumentParser()
    for flag in ("--legacy", "--dumb", "--deaf"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--stubborn", action="store_true", help="ends neither for SIGTERM nor for the end of its input")
    parser.add_argument("--calls")
    options = parser.parse_args()
    if options.deaf:
        print("cannot start: no such table", file=sys.stderr)
        sys.exit(1)
    if options.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server = Server(options)
    for line in sys.stdin:
        if not options.dumb:
            server.hear(json.loads(line))
    while options.stubborn:
        time.sleep(600)


if __name__ == "__main__":
    main()
