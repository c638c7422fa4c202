"""One target under atheris, which ends its process: `python -m tests.fuzz.with_atheris TARGET FOLDER SECONDS SEED`."""

import sys

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]


def main() -> None:
    name, folder, seconds, seed = sys.argv[1:]
    with atheris.instrument_imports(include=["rumpkit"]):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name][0]

    def once(data: bytes) -> None:
        target(data)

    options = [
        f"-max_total_time={seconds}",
        f"-seed={seed}",
        "-max_len=1024",
        f"-artifact_prefix={folder}.",
        "-timeout=20",
    ]
    atheris.Setup([sys.argv[0], folder, *options], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
