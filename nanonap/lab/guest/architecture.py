"""The processors that guests have: how QEMU makes such a machine, and what its kernel is told."""

from dataclasses import dataclass, field

from nanonap.toolchain.targets import AMD64, ARM64, Target


@dataclass(frozen=True)
class Architecture:
    """One frozen value for each processor; adding one is adding a row.

    ``target``: what programs are built for to run there. ``qemu``: the emulator's command, which the Debian package
    ``package`` has. ``accelerators``: by its name ("kvm", "tcg", "counted"), QEMU's options for machine and processor.
    ``console``: the kernel's name of the serial line. ``clock``: of the kernel's command line, where it is emulated.
    ``model``: the emulated processor's name, where its kernel has none.
    """

    target: Target
    qemu: str
    package: str
    accelerators: dict[str, tuple[str, ...]] = field(hash=False)
    console: str
    clock: str = ""
    model: str = ""


_ICOUNT = ("-accel", "tcg", "-icount", "shift={shift},sleep=off", "-rtc", "base=2026-01-01,clock=vm")
#: Without cx16=off Linux 6.12 panics as it boots in QEMU 7.2.22: the flags are garbage after a cmpxchg16b, with which
#: it allocates memory (mm/slub.c). Without that feature the kernel does it in another way.
X86 = Architecture(
    AMD64,
    "qemu-system-x86_64",
    "qemu-system-x86",
    {"kvm": ("-accel", "kvm", "-cpu", "host"), "tcg": ("-accel", "tcg,thread=multi", "-cpu", "max,cx16=off")},
    "ttyS0",
    # Emulated, the kernel finds the TSC unstable and takes hpet, which costs an exit to QEMU for each reading.
    clock="tsc=reliable clocksource=tsc ",
)
#: ``-cpu max`` needs ten times as long to boot. Without dtb-randomness=off no boot is as the one before.
ARM = Architecture(
    ARM64,
    "qemu-system-aarch64",
    "qemu-system-arm",
    {"counted": ("-M", "virt,dtb-randomness=off", "-cpu", "cortex-a72", *_ICOUNT)},
    "ttyAMA0",
    model="QEMU cortex-a72, an instruction a ns",
)
