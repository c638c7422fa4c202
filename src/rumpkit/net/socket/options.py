"""Values of socket options between their C layout (little-endian) and numbers, for the sockets of this folder."""

from ...kern.abi.errno import EINVAL, error


def option_int(value: bytes) -> int:
    """An int option's value.  Raises EINVAL where it is too short."""
    if len(value) < 4:
        raise error(EINVAL)
    return int.from_bytes(value[:4], "little", signed=True)


def option_byte(value: bytes) -> int:
    """The value of an option that may be given as an int or as a single byte (ip(7)).  Raises EINVAL."""
    return value[0] if 1 <= len(value) < 4 else option_int(value)


def int_option(number: int) -> bytes:
    """A number as an int option's value."""
    return number.to_bytes(4, "little", signed=True)
