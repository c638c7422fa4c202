"""The descriptor table against a dict."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rumpkit.kern.abi.errno import EBADF, EINVAL, EMFILE
from rumpkit.kern.descriptors import DescriptorTable
from tests.kern.helpers import Raises, Switchable

LIMIT = 12
NUMBERS = st.integers(-1, LIMIT)


class TableMachine(RuleBasedStateMachine):
    """Lowest free number first, at most LIMIT, references counted over dup and fork, each file closed exactly once."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = [DescriptorTable(LIMIT)]
        self.models: list[dict[int, tuple[Switchable, bool]]] = [{}]
        self.files: list[Switchable] = []

    def draw(self, data):
        index = data.draw(st.integers(0, len(self.tables) - 1))
        return self.tables[index], self.models[index]

    @rule(data=st.data(), minimum=NUMBERS, cloexec=st.booleans(), again=st.booleans())
    def install(self, data, minimum, cloexec, again):
        table, model = self.draw(data)
        open_files = [file for file in self.files if file.references]
        if again and open_files:
            file = data.draw(st.sampled_from(open_files))
        else:
            file = Switchable()
            self.files.append(file)
        free = [number for number in range(max(minimum, 0), LIMIT) if number not in model]
        if not 0 <= minimum < LIMIT:
            with Raises(EINVAL):
                table.install(file, cloexec, minimum)
        elif not free:
            with Raises(EMFILE):
                table.install(file, cloexec, minimum)
        else:
            fd = table.install(file, cloexec, minimum)
            assert fd == free[0]
            model[fd] = (file, cloexec)

    @rule(data=st.data(), fd=NUMBERS, cloexec=st.booleans())
    def replace(self, data, fd, cloexec):
        table, model = self.draw(data)
        file = Switchable()
        self.files.append(file)
        if 0 <= fd < LIMIT:
            table.replace(fd, file, cloexec, 0)
            model[fd] = (file, cloexec)
        else:
            with Raises(EBADF):
                table.replace(fd, file, cloexec, 0)

    @rule(data=st.data(), fd=NUMBERS)
    def close(self, data, fd):
        table, model = self.draw(data)
        if fd in model:
            table.close(fd, 0)
            del model[fd]
        else:
            with Raises(EBADF):
                table.close(fd, 0)

    @rule(data=st.data(), fd=NUMBERS, on=st.booleans())
    def set_close_on_exec(self, data, fd, on):
        table, model = self.draw(data)
        if fd in model:
            table.set_close_on_exec(fd, on)
            model[fd] = (model[fd][0], on)
        else:
            with Raises(EBADF):
                table.set_close_on_exec(fd, on)

    @rule(data=st.data())
    def fork(self, data):
        if len(self.tables) < 4:
            table, model = self.draw(data)
            self.tables.append(table.fork())
            self.models.append(dict(model))

    @rule(data=st.data())
    def exec(self, data):
        table, model = self.draw(data)
        table.close_for_exec(0)
        for fd in [fd for fd, (_, cloexec) in model.items() if cloexec]:
            del model[fd]

    @rule(data=st.data())
    def exit(self, data):
        table, model = self.draw(data)
        table.close_all(0)
        model.clear()

    @rule(data=st.data(), count=st.integers(1, LIMIT + 1))
    def room(self, data, count):
        table, model = self.draw(data)
        if len(model) + count <= LIMIT:
            table.check_room(count)
        else:
            with Raises(EMFILE):
                table.check_room(count)

    @invariant()
    def agrees(self):
        for table, model in zip(self.tables, self.models, strict=True):
            assert table.numbers() == sorted(model)
            for fd in range(-1, LIMIT + 1):
                file, cloexec = model.get(fd, (None, False))
                assert table.lookup(fd) is file
                if file is None:
                    with Raises(EBADF):
                        table.get(fd)
                else:
                    assert table.get(fd) is file
                    assert table.close_on_exec(fd) == cloexec
        for file in self.files:
            held = sum(file is other for model in self.models for other, _ in model.values())
            assert file.references == held
            assert file.closes == (1 if held == 0 and file.closes else 0)

    def teardown(self):
        for table in self.tables:
            table.close_all(0)
        installed = [file for file in self.files if file.closes]
        assert all(file.closes == 1 and file.references == 0 for file in installed)


TestTable = TableMachine.TestCase


def test_dup2_and_close_again_and_again_take_no_room():
    table = DescriptorTable(64)
    table.install(Switchable())
    for _ in range(1000):
        table.replace(40, Switchable(), False, 0)
        table.close(40, 0)
    assert len(table._free) <= 64


def test_a_number_freed_and_taken_by_minimum_is_given_once():
    table = DescriptorTable(8)
    for _ in range(3):
        table.install(Switchable())
    table.close(1, 0)
    assert table.install(Switchable(), False, 1) == 1
    assert table.install(Switchable()) == 3
