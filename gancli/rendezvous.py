"""How the workers of one training find one another, in the store that torchrun offers.

torchrun keeps its store when it starts the workers again, with everything that those before have written to it. So the
first worker chooses a new name each time, and the others ask for it under names that they have made up themselves:
whatever is left over in the store, nobody reads it.
"""

import os
import time
import uuid
from datetime import timedelta
from typing import NamedTuple

from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

JOINING = timedelta(minutes=2)  # for all workers to have started
LOOK = 0.05  # seconds between two looks at the store


class Meeting(NamedTuple):
    """Where the workers of this training, and only they, exchange values."""

    address: str
    port: int
    name: str

    def store(self, part: str, timeout: timedelta) -> Store:
        """A connection of its own, to one part of the values."""
        store = TCPStore(self.address, self.port, is_master=False, timeout=timeout)
        return PrefixStore(f"gancli/{self.name}/{part}", store)


def meet(rank: int, count: int) -> tuple[Meeting, Store]:
    """Wait for all workers. Also returns the connection by which they met; it must stay open if no torchrun is there.

    Without torchrun's store, the first worker has one. Raises RuntimeError if a worker does not come in time.
    """
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    hosts = rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    store = TCPStore(address, port, is_master=hosts, wait_for_workers=False, timeout=JOINING)
    own = uuid.uuid4().hex
    name = _answer(store, own, count) if rank == 0 else _ask(store, own, rank)
    return Meeting(address, port, name), store


def _ask(store: Store, own: str, rank: int) -> str:
    """The name that the first worker has chosen."""
    store.set(f"gancli/asks/{rank}", own)
    name: str = store.get(f"gancli/answers/{own}").decode()  # waits
    store.set(f"gancli/{name}/came/{rank}", "")
    return name


def _answer(store: Store, own: str, count: int) -> str:
    """Tell all others the name, until each has heard it. A question from an earlier start is answered in vain."""
    missing, until = set(range(1, count)), time.monotonic() + JOINING.total_seconds()
    while missing:
        for rank in missing:
            if store.check([f"gancli/asks/{rank}"]):
                store.set(f"gancli/answers/{store.get(f'gancli/asks/{rank}').decode()}", own)
        missing = {rank for rank in missing if not store.check([f"gancli/{own}/came/{rank}"])}
        if missing and time.monotonic() > until:
            names = ", ".join(f"worker {rank}" for rank in sorted(missing))
            raise RuntimeError(f"{names} did not start within {JOINING.total_seconds():g} s")
        time.sleep(LOOK if missing else 0)
    return own
