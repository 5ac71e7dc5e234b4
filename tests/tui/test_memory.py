"""The UI runs for weeks: news and keys leave nothing behind."""

from __future__ import annotations

import gc
import tracemalloc
from typing import TYPE_CHECKING

from forkmon import wire
from forkmon.tui.app import ForkmonApp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from forkmon.tui.launch import Launch

MOST = 300_000
"""Bytes that may differ between two moments of the same state: caches of the interpreter."""


async def test_ten_thousand_notices_leave_nothing(
    make_store: Callable[..., object],
    launch_of: Callable[..., Launch],
    until: Callable[..., Awaitable[None]],
) -> None:
    """After ten thousand notices of checkpoints the app holds what it held before."""
    app = ForkmonApp(launch_of(make_store()))
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: bool(app.main.desk.scene.timeline), "a scene")

        async def notices(many: int) -> int:
            for step in range(many):
                app._worker_said(wire.Stored(step))
                app._worker_said(wire.Polled(queued=1, waiting=0, ignored=0, note=""))
                if step % 500 == 0:
                    await pilot.press("comma", "full_stop")
            await pilot.pause(0.6)
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            before = await notices(2_000)
            after = await notices(10_000)
        finally:
            tracemalloc.stop()
        assert after - before < MOST
