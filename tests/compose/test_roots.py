"""Which root a program has, by the keys of [kernel] and [[run]]."""

from __future__ import annotations

from pathlib import Path

import pytest

from rumpkit import Kernel
from rumpkit.compose.errors import ConfigError
from rumpkit.compose.roots import IMAGES, Sees, common_root, complete_roots, images, root_of
from rumpkit.compose.spec import KernelSpec, RunSpec, Spec


def spec_with(*runs: RunSpec, **keys: object) -> Spec:
    return Spec(kernel=KernelSpec(**keys), run=list(runs))  # type: ignore[arg-type]


def test_paths_begin_at_the_configs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/srv/me")
    spec = spec_with(RunSpec(["true"], root="other.img"), root="root.img", writable=["data", "/srv"], hidden=["~/.ssh"])
    complete_roots(str(tmp_path), spec)
    assert spec.kernel.root == f"{tmp_path}/root.img" and spec.run[0].root == f"{tmp_path}/other.img"
    assert spec.kernel.writable == [f"{tmp_path}/data", "/srv"] and spec.kernel.hidden == ["/srv/me/.ssh"]


def test_each_image_is_mounted_once(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    layout = tmp_path / "layout"
    layout.mkdir()
    (layout / "oci-layout").touch()
    runs = [RunSpec(["a"]), RunSpec(["b"], root="/two.img", root_type="ext4"), RunSpec(["c"], root="/one.img")]
    runs += [RunSpec(["d"], root="/"), RunSpec(["e"], root=str(tree)), RunSpec(["f"], root=str(layout))]
    found = images(spec_with(*runs, root="/one.img"))
    assert [(one.source, one.type) for one in found] == [
        ("/one.img", "auto"),
        ("/two.img", "ext4"),
        (str(layout), "oci"),
    ]
    assert [one.place for one in found] == [f"{IMAGES}/{number}" for number in range(3)]
    assert images(spec_with(RunSpec(["a"], root="/"), root="/one.img")) == [], "nobody has it"


def test_one_image_is_written_or_it_is_not() -> None:
    runs = [RunSpec(["a"]), RunSpec(["b"], root_writable=True)]
    with pytest.raises(ConfigError, match="another root_writable") as problem:
        images(spec_with(*runs, root="/one.img"))
    assert problem.value.key == "run[1].root"


def test_who_has_the_hosts_files_writes_to_no_root() -> None:
    for spec in (
        spec_with(root_writable=True),
        spec_with(RunSpec(["a"], root="/"), root="/", root_writable=True),
        spec_with(RunSpec(["a"], root_writable=True)),
    ):
        with pytest.raises(ConfigError, match=r"root_writable: is about a root of its own.*writable ="):
            images(spec)
    assert images(spec_with(RunSpec(["a"], root="/one.img"), root_writable=True))[0].writable
    with Kernel() as kernel, pytest.raises(ConfigError, match="is about a root of its own"):
        root_of(kernel, Sees(root_writable=True), ["true"], "/", "/bin")


def test_the_root_that_programs_have_in_common() -> None:
    assert common_root(spec_with(RunSpec(["a"], root="/one"), RunSpec(["b"], root="/one"))) == ("/one", False)
    assert common_root(spec_with(RunSpec(["a"], root="/one"), RunSpec(["b"]), root="/two")) == ("/two", False)
    assert common_root(spec_with(RunSpec(["a"]))) == ("", True)
    assert common_root(spec_with(RunSpec(["a"], root="/"), root="/two")) == ("/", True)


def test_what_a_program_sees_of_the_hosts_tmp(tmp_path: Path) -> None:
    program, beside = tmp_path / "bin" / "program", tmp_path / "data"
    for folder in (program.parent, beside):
        folder.mkdir()
    program.touch()
    path = f"{tmp_path}/bin:/usr/bin"
    with Kernel() as kernel:
        seen = Sees(here=str(beside), tmp=str(tmp_path))
        root = root_of(kernel, seen, [str(program), "/tmp", f"{tmp_path}/none"], "/", path)
        assert root is not None and list(root.writable) == [str(tmp_path)]
        assert set(root.visible) == {str(beside), str(program), str(program.parent), str(tmp_path), "/usr"}
        assert root_of(kernel, Sees(writable=["/"]), ["true"], "/", path) is None, "the host's as it is"
        with pytest.raises(ConfigError, match="is no directory"):
            root_of(kernel, Sees(root=str(program)), ["true"], "/", path)
    with Kernel(spec_with(writable=["/nowhere"])) as kernel, pytest.raises(ConfigError) as problem:
        root_of(kernel, Sees(), ["true"], "/", path)
    assert problem.value.key == "kernel.writable"
