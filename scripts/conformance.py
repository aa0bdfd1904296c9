"""Runs the conformance suite (PyPI: kosoku) against `echo`, as server and as client.

usage: conformance.py ECHO REPORT [DETAILS]

Writes {"commit", "started", "cases", "failed", "directions": {...}} to REPORT and exits with 1 if a case failed. A case
that needs an extension which was declined counts as not implemented, neither as run nor as failed.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

from kosoku import FailureError, run_fuzzingclient, run_fuzzingserver
from kosoku._report import write_reports

TIMEOUT_SECS = 900
CASES_MIN = 2 * 247


async def results_of(running):
    try:
        return await asyncio.wait_for(running, TIMEOUT_SECS)
    except FailureError as failure:
        return failure.results


async def against_server(echo):
    server = await asyncio.create_subprocess_exec(echo, "serve", stdout=asyncio.subprocess.PIPE)
    try:
        port = int(await server.stdout.readline())
        return await results_of(run_fuzzingclient(f"ws://127.0.0.1:{port}", concurrency=4))
    finally:
        server.kill()
        await server.wait()


async def against_client(echo):
    async with run_fuzzingserver(port=0) as suite:
        client = await asyncio.create_subprocess_exec(
            echo, "drive", f"{suite.address}:{suite.port}"
        )
        try:
            return await results_of(suite.get_result())
        finally:
            if client.returncode is None:
                client.kill()
            await client.wait()


def summary(results):
    skipped = [r for r in results if r.behavior.value == "UNIMPLEMENTED"]
    failed = [r for r in results if r not in skipped and not r.passed]
    return {
        "cases": len(results) - len(skipped),
        "failed": len(failed),
        "not_implemented": len(skipped),
        "verdicts": Counter(r.behavior.value for r in results),
        "closes": Counter(r.behavior_close.value for r in results),
        "failures": {
            r.case_id: f"{r.behavior.value}: {r.result} / {r.behavior_close.value}: {r.result_close}"
            for r in failed
        },
        "not_strict": [r.case_id for r in results if r.behavior.value == "NON-STRICT"],
    }


async def main(echo, report, details=None):
    head = {"commit": os.environ.get("BELAY_COMMIT"), "started": int(time.time())}
    directions = {}
    for name, run in [("server", against_server), ("client", against_client)]:
        results = await run(echo)
        if details:
            write_reports(results, str(Path(details) / name))
        directions[name] = summary(results)
    total = {key: sum(d[key] for d in directions.values()) for key in ("cases", "failed")}
    Path(report).parent.mkdir(parents=True, exist_ok=True)
    Path(report).write_text(json.dumps({**head, **total, "directions": directions}, indent=2) + "\n")
    if total["failed"]:
        print(json.dumps({name: d["failures"] for name, d in directions.items()}, indent=2))
    print(f"conformance: {total['cases']} cases, {total['failed']} failed")
    # A suite that ran next to nothing proves nothing.
    return 1 if total["failed"] or total["cases"] < CASES_MIN else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
