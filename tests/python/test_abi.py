"""The structures and numbers of pith/_native.py are those that a C compiler makes of pith.h."""

import ctypes
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from pith import _native, errors
from support import ROOT

HEADER = ROOT / "include" / "pith" / "pith.h"
STRUCTURES = {
    "pith_error": _native.ErrorInfo,
    "pith_model_options": _native.ModelOptions,
    "pith_model_info": _native.ModelInfo,
    "pith_param_info": _native.ParamInfo,
    "pith_range": _native.Range,
    "pith_unit": _native.Unit,
    "pith_stats": _native.Stats,
    "pith_part": _native.Part,
    "pith_part_stats": _native.PartStats,
    "pith_token_score": _native.TokenScore,
}
CONSTANTS = {
    "PITH_E_ARGUMENT": _native.E_ARGUMENT,
    "PITH_E_UTF8": _native.E_UTF8,
    "PITH_NO_OFFSET": _native.NO_SIZE,
    **{f"PITH_PRECISION_{name.upper()}": i for i, name in enumerate(_native.PRECISIONS)},
    **{f"PITH_PARAM_{name.upper()}": i for i, name in enumerate(_native.PARAM_TYPES)},
    **{f"PITH_{name.upper()}": i for i, name in enumerate(_native.ROLES)},
}


def expressions():
    """Every number to compare: (C expression, ours)."""
    for name, structure in STRUCTURES.items():
        yield f"sizeof({name})", ctypes.sizeof(structure)
        for field, _ in structure._fields_:
            descriptor = getattr(structure, field)
            yield f"offsetof({name}, {field})", descriptor.offset
            yield f"sizeof((({name} *)0)->{field})", descriptor.size
    yield from CONSTANTS.items()


class Abi(unittest.TestCase):
    @unittest.skipUnless(shutil.which("cc"), "no C compiler")
    def test_structures(self):
        wanted = list(expressions())
        lines = [f'printf("%zu\\n", (size_t)({expression}));' for expression, _ in wanted]
        program = (
            "#include <pith/pith.h>\n#include <stdio.h>\nint main(void)\n{\n"
            + "\n".join(lines)
            + "\nreturn 0;\n}\n"
        )
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "abi.c")
            source.write_text(program)
            binary = Path(folder, "abi")
            subprocess.run(
                ["cc", "-std=c11", f"-I{HEADER.parents[1]}", str(source), "-o", str(binary)],
                check=True,
            )
            output = subprocess.run([str(binary)], check=True, capture_output=True, text=True)
        actual = [int(line) for line in output.stdout.split()]
        self.assertEqual(
            [(e, value) for (e, _), value in zip(wanted, actual)],
            wanted,
        )

    def test_fields_are_complete(self):
        text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)
        for name, structure in STRUCTURES.items():
            with self.subTest(name):
                body = re.search(r"typedef struct %s \{(.*?)\} %s;" % (name, name), text, re.S)[1]
                fields = []
                for declaration in body.split(";"):
                    names = [
                        re.search(r"(\w+)(\[\w+\])?$", d.strip()) for d in declaration.split(",")
                    ]
                    fields += [match[1] for match in names if match]
                self.assertEqual(fields, [field for field, _ in structure._fields_])

    def test_arguments(self):
        """As many arguments as the header declares."""
        text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)
        for name, (_, arguments) in _native.PROTOTYPES.items():
            with self.subTest(name):
                declared = re.search(r"\b%s\(([^)]*)\)" % name, text)[1]
                count = 0 if declared.strip() == "void" else declared.count(",") + 1
                self.assertEqual(len(arguments), count)

    def test_every_status_has_a_class(self):
        names = re.findall(r"X\((E_\w+),", HEADER.read_text())
        self.assertEqual(set(errors.CLASSES), set(names))


if __name__ == "__main__":
    unittest.main()
