"""The files of a run, shared by the processes that ``torchrun`` starts.

Each process takes the next file when it has room for one, from a counter that all of them have: so every file is taken once, and a fast
process takes more. The counter lies in the key-value store by which the processes found each other. Nothing else is exchanged: no process
waits for another one's batch, and none for longer than a communication library allows.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

WAIT = 0.05  # seconds between two looks at the store
GRACE = 3.0  # seconds in which the process that failed says why, and torchrun ends the others


class OtherFailedError(Exception):
    """Another process has failed, and says why."""


class Shares:
    """This process's share of the work, as a context. A failure within it ends the other processes.

    They leave the context without an error, since one sentence is enough. Made after the processes are connected.
    """

    def __init__(self) -> None:
        self.rank, self.processes = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        self.main = self.rank == 0
        self.store: Any = None
        self.counts: dict[str, int] = {}
        if self.processes > 1:
            from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]  # documented there

            store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
            self.store = PrefixStore(f"fcn predict {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)

    def from_main(self, make: Callable[[], Any]) -> Any:
        """What ``make`` returns on the first process, for all of them; as JSON holds it."""
        if self.store is None:
            return make()
        if self.main:
            self._ask("set", "made", json.dumps(make()))
        while not self._ask("check", ["made"]):
            self._wait()
        return json.loads(self._ask("get", "made"))

    def numbers(self, count: int) -> Iterator[int]:
        """Those of 0 to ``count - 1``, in rising order, that this process takes, when it asks for them."""
        if self.store is None:
            yield from range(count)
            return
        while (number := self._ask("add", "taken", 1) - 1) < count:
            self._check()
            yield number

    def count(self, name: str) -> int:
        """How often all processes together have called this with that name."""
        self.counts[name] = self.counts.get(name, 0) + 1
        return self.counts[name] if self.store is None else int(self._ask("add", f"count {name}", 1))

    def total(self, count: int) -> int:
        """The sum of the counts of all processes, on the first one, when all of them have called this; on another its own."""
        if self.store is None:
            return count
        self._ask("add", "total", count)
        ended = self._ask("add", "ended", 1)
        while self.main and ended < self.processes:
            self._wait()
            ended = self._ask("add", "ended", 0)
        return int(self._ask("add", "total", 0)) if self.main else count

    def _wait(self) -> None:
        self._check()
        time.sleep(WAIT)

    def _check(self) -> None:
        if self._ask("check", ["failed"]):
            raise OtherFailedError

    def _ask(self, operation: str, *arguments: Any) -> Any:
        """What the store answers. Without torchrun it lies in the first process, and is gone with it."""
        from torch.distributed import DistError

        try:
            return getattr(self.store, operation)(*arguments)
        except DistError as lost:
            raise OtherFailedError from lost

    def __enter__(self) -> "Shares":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        if error is None or self.store is None:
            return False
        try:
            if not isinstance(error, OtherFailedError) and self._ask("add", "failed", 1) == 1:
                return False
        except OtherFailedError:
            pass
        time.sleep(GRACE)
        return True
