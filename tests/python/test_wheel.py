"""The wheel, with and without the shared library in it, installed into an empty folder."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

from support import ROOT

CHECK = "import setuptools, pip, sys; sys.exit(int(setuptools.__version__.split('.')[0]) < 61)"
WHEEL = """
try:
    import setuptools.command.bdist_wheel
except ImportError:
    import wheel.bdist_wheel
"""
USE = """
import pathlib, sys, pith
assert str(pathlib.Path(pith.__file__).parent.parent) == sys.argv[1], pith.__file__
print(pith._native.lib._name)
text = "The committee met on Tuesday to discuss the budget for the coming year. " * 5
assert pith.Compressor(rate=0.5).compress(text).rate <= 0.5
assert (pathlib.Path(pith.__file__).parent / "py.typed").is_file()
"""


def clean_environment(**extra):
    hidden = ("PITH_LIBRARY", "PYTHONPATH")
    return {**{k: v for k, v in os.environ.items() if k not in hidden}, **extra}


def find_builder():
    """A Python that can build wheels without the network."""
    for python in dict.fromkeys([sys.executable, shutil.which("python3"), "/usr/bin/python3"]):
        if python and all(
            subprocess.run(
                [python, "-c", check], env=clean_environment(), capture_output=True
            ).returncode
            == 0
            for check in (CHECK, WHEEL)
        ):
            return python
    return None


BUILDER = find_builder()


@unittest.skipIf(BUILDER is None, "no Python with pip, setuptools (61 or newer) and wheel")
class Wheel(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        self.library = os.environ["PITH_LIBRARY"]
        shutil.copytree(
            ROOT / "python",
            self.folder / "python",
            ignore=shutil.ignore_patterns("_lib", "build", "*.egg-info", "__pycache__"),
        )

    def run_python(self, *arguments, **environment):
        done = subprocess.run(
            [BUILDER, *map(str, arguments)],
            cwd=self.folder,
            env=clean_environment(**environment),
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def build_and_install(self):
        options = ["--no-index", "--no-deps", "--disable-pip-version-check", "--quiet"]
        self.run_python(
            "-m", "pip", "wheel", *options, "--no-build-isolation",
            "--wheel-dir", self.folder, self.folder / "python",
        )  # fmt: skip
        (wheel,) = self.folder.glob("*.whl")
        self.run_python("-m", "pip", "install", *options, "--target", self.folder / "target", wheel)
        return wheel

    def use(self, **environment):
        target = str(self.folder / "target")
        return self.run_python("-c", USE, target, PYTHONPATH=target, **environment).strip()

    def test_with_the_library(self):
        library = self.folder / "python" / "pith" / "_lib"
        library.mkdir()
        shutil.copy(self.library, library / "libpith.so.0.5")
        wheel = self.build_and_install()
        self.assertRegex(wheel.name, r"^pith-0\.5\.\d+-py3-none-linux_\w+\.whl$")
        names = zipfile.ZipFile(wheel).namelist()
        self.assertIn("pith/_lib/libpith.so.0.5", names)
        self.assertIn("pith/py.typed", names)
        loaded = Path(self.use())
        self.assertEqual(loaded, self.folder / "target" / "pith" / "_lib" / "libpith.so.0.5")

    def test_without_the_library(self):
        wheel = self.build_and_install()
        self.assertRegex(wheel.name, r"^pith-0\.5\.\d+-py3-none-any\.whl$")
        self.assertEqual(self.use(PITH_LIBRARY=self.library), self.library)
        folder = self.folder / "system"
        folder.mkdir()
        shutil.copy(self.library, folder / "libpith.so.0.5")
        self.assertEqual(self.use(LD_LIBRARY_PATH=str(folder)), "libpith.so.0.5")

    def test_a_missing_library_is_named(self):
        wheel = self.build_and_install()
        done = subprocess.run(
            [BUILDER, "-c", "import pith"],
            cwd=self.folder,
            env=clean_environment(
                PYTHONPATH=str(self.folder / "target"), PITH_LIBRARY="/missing/libpith.so"
            ),
            capture_output=True,
            text=True,
        )
        self.assertNotEqual(done.returncode, 0, wheel)
        self.assertIn("ImportError", done.stderr)
        self.assertIn("/missing/libpith.so", done.stderr)


if __name__ == "__main__":
    unittest.main()
