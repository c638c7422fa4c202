"""The registers of x86-64 and aarch64 as gdb numbers them, and where they lie in what ptrace gives (struct user_regs_struct and
user_fpregs_struct of <sys/user.h>; struct user_pt_regs and user_fpsimd_state of <asm/ptrace.h>).  Tables; nothing here does anything."""

from typing import Final, NamedTuple, final

from ..ptrace import NT_FPREGSET, NT_PRSTATUS


class Register(NamedTuple):
    """One register: its place in a register set of Linux.  gdb's size may be larger than Linux's; the rest is zero then."""

    name: str
    feature: str
    size: int
    """Bytes, of gdb."""
    set: int
    offset: int
    width: int
    """Bytes, of Linux."""
    kind: str = ""
    """gdb's type, "" for int."""


@final
class Layout:
    """A machine's registers in gdb's order."""

    def __init__(
        self, architecture: str, abi: str, registers: list[Register], pc: str, trap: bytes, pc_behind: int
    ) -> None:
        self.architecture = architecture
        self.abi = abi
        self.registers = registers
        self.pc = next(one for one in registers if one.name == pc)
        self.sp = next(one for one in registers if one.name in ("rsp", "sp"))
        self.trap = trap
        """The breakpoint instruction."""
        self.pc_behind = pc_behind
        """How far behind it the program counter is when it has been executed."""

    def target_xml(self) -> bytes:
        """What gdb asks for first."""
        parts = [
            f'<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target version="1.0">'
            f"<architecture>{self.architecture}</architecture><osabi>{self.abi}</osabi>"
        ]
        feature = ""
        for one in self.registers:
            if one.feature != feature:
                parts.append(f'{"</feature>" if feature else ""}<feature name="{one.feature}">')
                parts.append(_TYPES.get(one.feature, ""))
                feature = one.feature
            kind = f' type="{one.kind}"' if one.kind else ""
            parts.append(f'<reg name="{one.name}" bitsize="{one.size * 8}"{kind}/>')
        return "".join([*parts, "</feature></target>"]).encode()


_TYPES: Final = {
    "org.gnu.gdb.i386.sse": '<vector id="v4f" type="ieee_single" count="4"/><vector id="v2d" type="ieee_double" count="2"/>'
    '<vector id="v16i8" type="int8" count="16"/><vector id="v4i32" type="int32" count="4"/>'
    '<union id="vec128"><field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/>'
    '<field name="v16_int8" type="v16i8"/><field name="v4_int32" type="v4i32"/><field name="uint128" type="uint128"/></union>',
    "org.gnu.gdb.aarch64.fpu": '<vector id="v2d" type="ieee_double" count="2"/><vector id="v4f" type="ieee_single" count="4"/>'
    '<vector id="v16i8" type="int8" count="16"/><union id="aarch64v"><field name="d" type="v2d"/><field name="s" type="v4f"/>'
    '<field name="b" type="v16i8"/><field name="q" type="uint128"/></union>',
}


def _x86_64() -> Layout:
    core, sse, linux, segments = (f"org.gnu.gdb.i386.{name}" for name in ("core", "sse", "linux", "segments"))
    lies = "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs gs".split()
    at = {name: 8 * place for place, name in enumerate(lies)}
    kinds = {"rip": "code_ptr", "rbp": "data_ptr", "rsp": "data_ptr"}
    names = "rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip".split()
    found = [Register(name, core, 8, NT_PRSTATUS, at[name], 8, kinds.get(name, "int64")) for name in names]
    found += [Register(name, core, 4, NT_PRSTATUS, at[name], 4, "int32") for name in "eflags cs ss ds es fs gs".split()]
    found += [Register(f"st{n}", core, 10, NT_FPREGSET, 32 + 16 * n, 10, "i387_ext") for n in range(8)]
    control = [("fctrl", 0, 2), ("fstat", 2, 2), ("ftag", 4, 2), ("fiseg", 12, 2)]
    control += [("fioff", 8, 4), ("foseg", 20, 2), ("fooff", 16, 4), ("fop", 6, 2)]
    found += [Register(name, core, 4, NT_FPREGSET, offset, width, "int") for name, offset, width in control]
    found += [Register(f"xmm{n}", sse, 16, NT_FPREGSET, 160 + 16 * n, 16, "vec128") for n in range(16)]
    found.append(Register("mxcsr", sse, 4, NT_FPREGSET, 24, 4, "int"))
    found.append(Register("orig_rax", linux, 8, NT_PRSTATUS, at["orig_rax"], 8, "int"))
    found += [Register(name, segments, 8, NT_PRSTATUS, at[name], 8, "int") for name in ("fs_base", "gs_base")]
    return Layout("i386:x86-64", "GNU/Linux", found, "rip", b"\xcc", 1)


def _aarch64() -> Layout:
    core, fpu = "org.gnu.gdb.aarch64.core", "org.gnu.gdb.aarch64.fpu"
    found = [Register(f"x{n}", core, 8, NT_PRSTATUS, 8 * n, 8) for n in range(31)]
    found.append(Register("sp", core, 8, NT_PRSTATUS, 8 * 31, 8, "data_ptr"))
    found.append(Register("pc", core, 8, NT_PRSTATUS, 8 * 32, 8, "code_ptr"))
    found.append(Register("cpsr", core, 4, NT_PRSTATUS, 8 * 33, 4))
    found += [Register(f"v{n}", fpu, 16, NT_FPREGSET, 16 * n, 16, "aarch64v") for n in range(32)]
    found += [Register("fpsr", fpu, 4, NT_FPREGSET, 512, 4), Register("fpcr", fpu, 4, NT_FPREGSET, 516, 4)]
    return Layout("aarch64", "GNU/Linux", found, "pc", b"\x00\x00\x20\xd4", 0)


LAYOUTS: Final = {"x86_64": _x86_64, "aarch64": _aarch64}


def read(layout: Layout, sets: dict[int, bytes]) -> bytes:
    """All registers, one behind the other."""
    return b"".join(get(one, sets) for one in layout.registers)


def get(register: Register, sets: dict[int, bytes]) -> bytes:
    """One register's bytes."""
    data = sets[register.set][register.offset : register.offset + register.width]
    return data.ljust(register.size, b"\0")


def put(register: Register, sets: dict[int, bytes], value: bytes) -> None:
    """Change one register in a copy of Linux's sets."""
    whole = sets[register.set]
    data = value[: register.width].ljust(register.width, b"\0")
    sets[register.set] = whole[: register.offset] + data + whole[register.offset + register.width :]
