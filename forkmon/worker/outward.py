"""Alerts to the outside: a command of the user's, or a web hook; never in the analysis' way."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Full, Queue
from threading import Thread
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from forkmon.stats.alert import Alert
from forkmon.text import safe

COMMAND_SECONDS = 30.0
"""How long a command may take before it is killed."""

HOOK_SECONDS = 10.0
WAITING = 8
"""Batches that wait while one is sent; what comes then is dropped, and said."""

MOST = 200
"""Alerts in one message; the worst, and how many there are in all."""

Say = Callable[[str], None]
"""Leaves a word for the person: a log line."""

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Targets:
    """Where alerts go to; nowhere by default."""

    command: tuple[str, ...] = ()
    """A program and its arguments; run without a shell."""
    hook: str = ""
    """An http or https address."""

    def __bool__(self) -> bool:
        """Return whether there is anywhere to go."""
        return bool(self.command or self.hook)


def body_of(alerts: Sequence[Alert], run: str) -> Body:
    """Return what is sent: the alerts, worst first, and one line of text (as chat hooks want)."""
    ranked = sorted(alerts, key=lambda alert: (-alert.severity, -alert.step, alert.tensor or ""))
    worst = ranked[0]
    where = "run" if worst.tensor is None else safe(worst.tensor)
    more = f" (and {len(ranked) - 1:,} more)" if len(ranked) > 1 else ""
    text = f"{worst.kind} at step {worst.onset:,}, {where}: {safe(worst.message, 300)}{more}"
    return {
        "schema": 1,
        "run": run,
        "text": f"forkmon {safe(run, 200)}: {text}",
        "count": len(ranked),
        "alerts": [{**alert.as_json(), "segment": alert.segment} for alert in ranked[:MOST]],
    }


def arguments_of(body: Body) -> list[str]:
    """Return what is put behind the command: the worst alert as `name=value`, and how many.

    No value can be taken for an option, and none reaches a shell.
    """
    worst = body["alerts"][0]
    return [
        f"kind={worst['kind']}",
        f"severity={worst['severity']}",
        f"step={worst['onset']}",
        f"tensor={safe(worst['tensor'] or '', 300)}",
        f"count={body['count']}",
    ]


class Outward:
    """Sends each alert once, in a thread of its own; a slow target delays nothing."""

    def __init__(
        self,
        targets: Targets,
        run: str,
        say: Say,
        *,
        known: Sequence[Alert] = (),
    ) -> None:
        """`known` alerts are old news."""
        self._targets = targets
        self._run = run
        self._say = say
        self._sent = {alert.key for alert in known}
        self._queue: Queue[Body | None] = Queue(WAITING)
        self._thread: Thread | None = None

    def tell(self, alerts: Sequence[Alert]) -> None:
        """Send the alerts that were not sent before and will not be taken back."""
        news = [
            alert
            for alert in alerts
            if alert.key not in self._sent and not alert.evidence.get("provisional")
        ]
        if not news or not self._targets:
            return
        self._sent.update(alert.key for alert in news)
        if self._thread is None:
            self._thread = Thread(target=self._work, name="forkmon-outward", daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait(body_of(news, self._run))
        except Full:
            self._say(f"{len(news):,} alerts not passed on: the ones before are still being sent")

    def close(self, seconds: float = COMMAND_SECONDS) -> None:
        """Let what is waiting go out, for so long."""
        if self._thread is not None:
            try:
                self._queue.put(None, timeout=seconds)
            except Full:
                return
            self._thread.join(seconds)

    def _work(self) -> None:
        while (body := self._queue.get()) is not None:
            if self._targets.command:
                self._run_command(body)
            if self._targets.hook:
                self._post(body)

    def _run_command(self, body: Body) -> None:
        command = [*self._targets.command, *arguments_of(body)]
        try:
            done = subprocess.run(  # noqa: S603 -- the user's own command, without a shell
                command,
                input=json.dumps(body, allow_nan=False).encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            self._say(f"{safe(command[0])}: killed after {COMMAND_SECONDS:g} s (--on-alert)")
        except OSError as error:
            self._say(f"{safe(command[0])}: {safe(error.strerror)} (--on-alert)")
        else:
            if done.returncode:
                said = done.stderr.decode("utf-8", "replace").strip().splitlines()
                why = f": {safe(said[-1], 200)}" if said else ""
                self._say(f"{safe(command[0])} ended with {done.returncode}{why} (--on-alert)")

    def _post(self, body: Body) -> None:
        request = Request(  # noqa: S310 -- the scheme was checked with the setting
            self._targets.hook,
            data=json.dumps(body, allow_nan=False).encode(),
            headers={"Content-Type": "application/json", "User-Agent": "forkmon"},
            method="POST",
        )
        try:
            with urlopen(request, timeout=HOOK_SECONDS):  # noqa: S310 -- as above
                pass
        except (URLError, OSError, ValueError) as error:
            self._say(f"the web hook could not be told: {safe(error, 200)}")
