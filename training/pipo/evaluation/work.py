"""Independent measurements, spread over processes of one thread each; every one runs once, whoever asks for it."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

import torch

from pipo.fast_gdn import fast_gated_deltanet


class Work:
    """Results of functions by key. With one job everything runs in this process, which a GPU needs."""

    def __init__(self, jobs: int) -> None:
        self.started = time.monotonic()
        self.futures: dict[Hashable, Future] = {}
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        self.pool = ProcessPoolExecutor(jobs, context, initializer=use_one_thread) if jobs > 1 else None

    def want(self, key: Hashable, function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        """Has `function` run; a key that is already known is not measured again."""
        if key in self.futures:
            return
        if self.pool:
            future = self.pool.submit(measured, function, arguments, options)
        else:
            future = Future()
            future.set_result(measured(function, arguments, options))
        self.futures[key] = future
        future.add_done_callback(lambda _: self.tell(key))

    def result(self, key: Hashable) -> Any:
        """Waits for the result; raises what the function raised."""
        return self.futures[key].result()[0]

    def tell(self, key: Hashable) -> None:
        future = self.futures[key]
        if not future.cancelled() and not future.exception():
            print(f"{time.monotonic() - self.started:6.0f} s  {key}  ({future.result()[1]:.1f} s)", flush=True)

    def close(self) -> None:
        if self.pool:
            self.pool.shutdown(cancel_futures=True)


def use_one_thread() -> None:
    torch.set_num_threads(1)


def measured(function: Callable[..., Any], arguments: tuple, options: dict) -> tuple[Any, float]:
    """The function's result and its seconds."""
    start = time.monotonic()
    with fast_gated_deltanet():
        result = function(*arguments, **options)
    return result, time.monotonic() - start
