"""Alerts to the outside: once each, as data, never through a shell, never in the way."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from forkmon.stats.alert import Alert, Severity
from forkmon.worker.outward import MOST, Outward, Targets, arguments_of, body_of

RECORD = """
import json, sys
with open(sys.argv[1], "a") as log:
    log.write(json.dumps([sys.argv[2:], sys.stdin.read()]) + "\\n")
"""


def alert(
    kind: str = "SPLIT", tensor: str | None = "a.weight", onset: int = 3, **more: object
) -> Alert:
    """Return an alert."""
    severity = more.pop("severity", Severity.WARN)
    assert isinstance(severity, Severity)
    evidence = {name: value for name, value in more.items() if isinstance(value, float | int | str)}
    return Alert(kind, severity, tensor, onset, onset + 2, "two modes", evidence)


def lines_of(path: Path) -> list[tuple[list[str], dict[str, object]]]:
    """Return what the recording command was called with."""
    out: list[tuple[list[str], dict[str, object]]] = []
    for line in path.read_text().splitlines():
        arguments, stdin = json.loads(line)
        out.append((arguments, json.loads(stdin)))
    return out


def test_a_command_gets_each_alert_once(tmp_path: Path) -> None:
    """Arguments name the worst, stdin holds all; what was sent or known before is not news."""
    log = tmp_path / "log"
    command = (sys.executable, "-c", RECORD, str(log))
    said: list[str] = []
    out = Outward(Targets(command), "run", said.append, known=[alert("FROZEN")])
    worst = alert("NONFINITE", severity=Severity.ERROR)
    out.tell([alert("FROZEN"), alert(), worst])
    out.tell([alert("FROZEN"), alert(), worst, alert(onset=9)])
    out.close()
    assert said == []
    first, second = lines_of(log)
    assert first[0] == ["kind=NONFINITE", "severity=error", "step=3", "tensor=a.weight", "count=2"]
    assert [a["kind"] for a in first[1]["alerts"]] == ["NONFINITE", "SPLIT"]  # type: ignore[attr-defined]
    assert second[1]["count"] == 1


def test_provisional_alerts_wait(tmp_path: Path) -> None:
    """What older checkpoints may still take back is not news; it is once it is certain."""
    log = tmp_path / "log"
    out = Outward(Targets((sys.executable, "-c", RECORD, str(log))), "run", print)
    out.tell([alert(provisional=1)])
    out.tell([alert()])
    out.close()
    assert [arguments[-1] for arguments, _ in lines_of(log)] == ["count=1"]


@pytest.mark.parametrize("name", ["; touch pwned", "$(touch pwned)", "--help", "\x1b[2J`id`\n"])
def test_a_hostile_name_is_only_text(tmp_path: Path, name: str) -> None:
    """A tensor's name is one argument that cannot be an option, control characters made visible."""
    log = tmp_path / "log"
    out = Outward(Targets((sys.executable, "-c", RECORD, str(log))), "run", print)
    out.tell([alert(tensor=name)])
    out.close()
    arguments, body = lines_of(log)[0]
    assert arguments[3].startswith("tensor=")
    assert arguments[3].isprintable()
    assert body["alerts"][0]["tensor"] == name  # type: ignore[index]
    assert not (tmp_path / "pwned").exists()
    assert not Path("pwned").exists()


@pytest.mark.parametrize(
    ("command", "word"),
    [
        (("/no/such/program",), "No such file"),
        ((sys.executable, "-c", "import sys; sys.exit('it failed')"), "it failed"),
    ],
)
def test_a_command_that_fails_is_a_word(command: tuple[str, ...], word: str) -> None:
    """A missing or failing program is said, and nothing else happens."""
    said: list[str] = []
    out = Outward(Targets(command), "run", said.append)
    out.tell([alert()])
    out.close()
    assert len(said) == 1
    assert word in said[0]


def test_numbers_json_does_not_know_become_null() -> None:
    """Infinite evidence does not break the message."""
    body = body_of([alert(value=float("inf"), threshold=2.5)], "run")
    assert body["alerts"][0]["evidence"] == {"value": None, "threshold": 2.5}
    json.dumps(body, allow_nan=False)


def test_a_storm_is_one_message_of_bounded_size() -> None:
    """Thousands of alerts are counted, the worst are listed."""
    body = body_of([alert(onset=i) for i in range(5000)], "run")
    assert body["count"] == 5000
    assert len(body["alerts"]) == MOST
    assert arguments_of(body)[-1] == "count=5000"


class _Hook(BaseHTTPRequestHandler):
    got: list[dict[str, object]]

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.got.append(json.loads(self.rfile.read(length)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base's name
        pass


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, object]]]]:
    """Serve a web hook on loopback."""
    got: list[dict[str, object]] = []
    handler = type("Hook", (_Hook,), {"got": got})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", got
        server.shutdown()
        thread.join()


def test_a_web_hook_is_posted_json(hook: tuple[str, list[dict[str, object]]]) -> None:
    """The hook gets the same body, with a line of text for chats."""
    url, got = hook
    said: list[str] = []
    out = Outward(Targets(hook=url), "my run", said.append)
    out.tell([alert()])
    out.close()
    assert said == []
    assert got[0]["run"] == "my run"
    assert "SPLIT at step 3, a.weight" in str(got[0]["text"])


def test_a_hook_that_is_not_there_is_a_word() -> None:
    """A refused connection is said once a message."""
    said: list[str] = []
    out = Outward(Targets(hook="http://127.0.0.1:9/"), "run", said.append)
    out.tell([alert()])
    out.close()
    assert len(said) == 1
    assert "web hook" in said[0]
