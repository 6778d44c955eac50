"""Go files that make any program large: some 90 MiB of machine code that is linked and never run.

The functions are written in Go's assembler, which needs 15 seconds for what the compiler needs minutes for. They
are ordinary functions to the linker: each has its entry in the function table.
"""

from functools import cache

#: Each is a thousand instructions of 12 bytes.
FUNCTIONS = 7_600  # 87 MiB of them

_HEAD = """#include "textflag.h"

#define ONE MOVQ $0x12345678, 0x1234567(AX)(BX*8);
#define TEN ONE ONE ONE ONE ONE ONE ONE ONE ONE ONE
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define THOUSAND HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED

"""


@cache
def big_files() -> dict[str, str]:
    """File name → content, to be added to a package ``main``.

    A table of the functions, which an ``init`` reaches, keeps the linker from dropping them.
    """
    numbers = range(FUNCTIONS)
    functions = "".join(f"TEXT ·big{i}(SB), NOSPLIT, $0-0\n\tTHOUSAND\n\tRET\n\n" for i in numbers)
    table = "".join(f"DATA ·bigTable+{8 * i}(SB)/8, $·big{i}(SB)\n" for i in numbers)
    declarations = "".join(f"func big{i}()\n" for i in numbers)
    return {
        "big_amd64.s": f"{_HEAD}{functions}{table}GLOBL ·bigTable(SB), RODATA, ${8 * FUNCTIONS}\n",
        "big.go": (
            f"package main\n\nvar bigTable [{FUNCTIONS}]uintptr\n\n"
            "var keepBig *uintptr\n\nfunc init() { keepBig = &bigTable[0] }\n\n"
            f"{declarations}"
        ),
    }
