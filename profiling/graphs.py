"""CUDA graphs: calls captured once and replayed, which the device runs without waiting for the host's launches."""

import inspect
from itertools import pairwise
from math import ceil
from typing import Any

import torch

from srnas.profiling.host_clock import Call

# Torch, cuDNN and cuBLAS choose kernels and workspaces in these, which a capture forbids.
_WARM_UP_CALLS = 3
# A replay takes at least so long: events tell half a microsecond apart, 0.05 % of it.
_LEAST_MS = 1.0
_MOST_CALLS = 1000
# What is added to the number of calls that should suffice.
_SURPLUS = 1.2
# A difference of two replays is at least so much, whatever the noise: rates are computed from it.
_LEAST_DIFFERENCE_MS = 1e-3

# Where torch can, it refuses to replay a graph whose input is gone.
_CHECKED = "check_input_liveness" in inspect.signature(torch.cuda.graph.__init__).parameters


class Recorder:
    """Captures calls on a stream of its own; all its graphs share one pool of memory, and run one at a time.

    A pool for each would hold the intermediate results of every network that is timed beside the others.

    Args:
        device: Where the calls run.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        # The default stream of captures is that of the first device of the process.
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, run: Call) -> None:
        """Call a few times on the stream that captures."""
        current = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            for _ in range(_WARM_UP_CALLS):
                run()
        current.wait_stream(self._stream)

    def capture(self, run: Call, calls: int = 1) -> tuple[torch.cuda.CUDAGraph, Any]:
        """Return a graph of so many calls, and what the last of them returned.

        Args:
            run: A call that is warm; whoever replays the graph holds it, since the graph holds only addresses.
            calls: How many.

        Raises:
            RuntimeError: If a capture forbids something that it does.
        """
        graph = torch.cuda.CUDAGraph()
        checked: dict[str, Any] = {"check_input_liveness": True} if _CHECKED else {}
        # Torch stays on the stream of a capture that has failed; the stream that is current is left alone by this.
        with torch.cuda.device(self.device), torch.cuda.stream(torch.cuda.current_stream(self.device)):  # noqa: SIM117
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, **checked):
                for _ in range(calls):
                    result = run()
        return graph, result


class GraphReplay:
    """Many calls as one graph, timed by events: what the device needs.

    Args:
        run: One call.
        recorder: Captures them.
        calls: How many are captured; by default as many as a replay of 1 ms needs.

    Raises:
        RuntimeError: If a capture forbids something that the call does.
    """

    def __init__(self, run: Call, recorder: Recorder, calls: int | None = None) -> None:
        self._run, self._recorder = run, recorder
        recorder.warm_up(run)
        self.calls = calls or 1
        self._graph, _ = recorder.capture(run, self.calls)
        # A replay of few calls tells the launch of the graph, and hence too few calls at first.
        while not calls and self.calls < _MOST_CALLS and (found := min(self.replays_ms(2))) < _LEAST_MS:
            needed = ceil(_SURPLUS * self.calls * _LEAST_MS / max(found, _LEAST_DIFFERENCE_MS))
            self.calls = min(_MOST_CALLS, needed)
            self._graph, _ = recorder.capture(run, self.calls)

    def replays_ms(self, times: int) -> list[float]:
        """Return the durations of so many replays in milliseconds."""
        events = [torch.cuda.Event(enable_timing=True) for _ in range(times + 1)]
        torch.cuda.synchronize(self._recorder.device)
        # Not timed: while it runs, the others are launched, and follow without a gap.
        self._graph.replay()
        events[0].record()
        for event in events[1:]:
            self._graph.replay()
            event.record()
        torch.cuda.synchronize(self._recorder.device)
        return [start.elapsed_time(end) for start, end in pairwise(events)]

    def times_ms(self, calls: int) -> list[float]:
        """Return the duration of a call in milliseconds, for each replay of about so many calls in whole replays."""
        return [found / self.calls for found in self.replays_ms(max(1, calls // self.calls))]


class ColdReplay:
    """The same with the L2 cache overwritten before each call.

    What overwriting takes is captured alone as well and subtracted: a pair of events around each call would charge it
    with the write-back of what overwrote the cache.

    Args:
        run: One call.
        flush: Overwrites the cache.
        recorder: Captures both.

    Raises:
        RuntimeError: If a capture forbids something that the call does.
    """

    def __init__(self, run: Call, flush: Call, recorder: Recorder) -> None:
        self._both = GraphReplay(lambda: (flush(), run()), recorder)
        self._flush = GraphReplay(flush, recorder, self._both.calls)

    def times_ms(self, calls: int) -> list[float]:
        """Return the duration of a call in milliseconds, for each replay of about so many calls in whole replays."""
        captured = self._both.calls
        times = max(1, calls // captured)
        found = zip(self._both.replays_ms(times), self._flush.replays_ms(times), strict=True)
        return [max(both - flush, _LEAST_DIFFERENCE_MS) / captured for both, flush in found]
