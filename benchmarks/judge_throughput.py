"""Judges beside the limit of their server: it answers every question after the same time, and all slots are used.

The server is a process of its own, which counts. Its limit is `slots / seconds` questions a second.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import time
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.ratios import Ratio, ratio
from rewardsmith.rewards import ChatBackend, PairwiseJudge, ReferenceJudge

SECONDS, SLOTS, N_ROWS, REPEATS = 0.5, 64, 1280, 3


def measure(
    *, seconds: float = SECONDS, slots: int = SLOTS, n_rows: int = N_ROWS, repeats: int = REPEATS
) -> list[Ratio]:
    """The least possible time over the wall time of a judge, so that 1 is the server's limit."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, seconds), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{ours.recv()}/v1"
    try:
        note = f"{n_rows:,} requests of {1e3 * seconds:g} ms in {slots} slots"
        return [
            ratio(f"the server's limit, {name}", "the judge", [_share(url, kind, seconds, slots, n_rows)
                  for _ in range(repeats)], note=note)
            for name, kind in (("ReferenceJudge", ReferenceJudge), ("PairwiseJudge in both orders", PairwiseJudge))
        ]  # fmt: skip
    finally:
        server.kill()


def _share(url: str, kind: Any, seconds: float, slots: int, n_requests: int) -> float:
    backend = ChatBackend("none", base_url=url, concurrency=slots)
    judge, n_rows = kind(backend), n_requests // (2 if kind is PairwiseJudge else 1)
    backend.complete([{"role": "user", "content": "unmeasured: the connections' thread starts"}])
    rows = {"completions": [str(k) for k in range(n_rows)], "answer": ["4"] * n_rows, "reference": ["5"] * n_rows}
    start = time.perf_counter()
    found = asyncio.run(judge.reasoned(prompts=["2 + 2?"] * n_rows, **rows))
    wall = time.perf_counter() - start
    backend.close()
    if not all(isinstance(value, float) for value in found):
        raise RuntimeError(f"judge_throughput: a row has no verdict: {found[0]}. The server's replies are wrong.")
    return n_requests / slots * seconds / wall


def _serve(parent: Connection, seconds: float) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:  # the judge has gone
                return writer.close()
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            body = json.loads(await reader.readexactly(int(length.split(b":")[1])))
            await asyncio.sleep(seconds)
            said = "<answer>[[A]]</answer>" if "[[A]]" in body["messages"][0]["content"] else "Verdict: YES"
            text = json.dumps({"choices": [{"message": {"content": said}, "finish_reason": "stop"}]}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
            await writer.drain()

    async def run() -> None:
        listening = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
        parent.send(listening.sockets[0].getsockname()[1])
        await listening.serve_forever()

    asyncio.run(run())
