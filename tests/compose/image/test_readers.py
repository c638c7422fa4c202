"""What reads data through fsspec, on files in images: each test is skipped by name where its package is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rumpkit.compose.image.filesystem import RumpFileSystem
from rumpkit.compose.image.opened import open_image
from tests.compose.image.blank_image import blank

fsspec = pytest.importorskip("fsspec", reason="missing: fsspec")
pytestmark = [pytest.mark.once, pytest.mark.long]


@pytest.fixture
def image(tmp_path: Path) -> Iterator[str]:
    """An ext4 image."""
    fsspec.register_implementation("rump", RumpFileSystem, clobber=True)
    yield str(blank(tmp_path / "disk.img", "ext4", 16 << 20))


def package(name: str) -> Any:
    return pytest.importorskip(name, reason=f"missing: {name}")


def test_pandas(image: str) -> None:
    pandas = package("pandas")
    frame = pandas.DataFrame({"name": ["a", "b", "c"], "value": [1.5, 2.5, -1.0]})
    options = {"in_place": True}
    frame.to_csv(f"rump://{image}:/table.csv", index=False, storage_options=options)
    assert pandas.read_csv(f"rump://{image}:/table.csv").equals(frame)
    frame.to_json(f"rump://{image}:/table.json", orient="records", storage_options=options)
    assert pandas.read_json(f"rump://{image}:/table.json", orient="records").equals(frame)
    with open_image(image) as root:
        assert (root / "table.csv").read_bytes() == b"name,value\na,1.5\nb,2.5\nc,-1.0\n"


def test_parquet(image: str) -> None:
    arrow, parquet = package("pyarrow"), package("pyarrow.parquet")
    table = arrow.table({"number": list(range(5000)), "text": [f"row {number}" for number in range(5000)]})
    with fsspec.filesystem("rump", image=image, writable=True) as files:
        files.makedirs("/data")
        for part in range(3):
            with files.open(f"/data/part-{part}.parquet", "wb") as file:
                parquet.write_table(table.slice(part * 2000, 2000), file)
    with fsspec.filesystem("rump", image=image) as files:
        assert parquet.read_table("/data", filesystem=files).equals(table)
        with files.open("/data/part-1.parquet", "rb") as file:
            assert parquet.read_table(file, columns=["number"]).column("number")[0].as_py() == 2000


def test_zarr(image: str) -> None:
    zarr, numpy = package("zarr"), package("numpy")
    values = numpy.arange(10_000, dtype="int32").reshape(100, 100)
    with open_image(image, writable=True) as root:
        folder = Path(image).parent / "array"
        zarr.save_array(str(folder), values)
        for path in sorted(folder.rglob("*")):
            where = root / "array" / str(path.relative_to(folder))
            if path.is_dir():
                where.mkdir(parents=True, exist_ok=True)
            else:
                where.parent.mkdir(parents=True, exist_ok=True)
                where.write_bytes(path.read_bytes())
    array = zarr.open_array(f"rump://{image}:/array", mode="r")
    assert numpy.array_equal(array[:], values)
