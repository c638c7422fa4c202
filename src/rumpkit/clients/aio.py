"""The asynchronous client; see `local.py` for the calls."""

from ..kern.kernel import RumpKernel
from ..kern.process import Process


class AioProcess:
    def __init__(self, kernel: RumpKernel, process: Process) -> None:
        pass
