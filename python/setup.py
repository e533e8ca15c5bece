"""Only what pyproject.toml cannot say: a wheel that holds the shared library (pith/_lib) is for
one platform, one without it for all; either is for every Python 3."""

from pathlib import Path

from setuptools import Distribution, setup

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools before 70.1
    from wheel.bdist_wheel import bdist_wheel

HAS_LIBRARY = any((Path(__file__).parent / "pith" / "_lib").glob("libpith.so*"))


class PlatformDistribution(Distribution):
    def has_ext_modules(self):
        return HAS_LIBRARY


class PlatformWheel(bdist_wheel):
    def get_tag(self):
        python, abi, platform = super().get_tag()
        return ("py3", "none", platform) if HAS_LIBRARY else (python, abi, platform)


setup(distclass=PlatformDistribution, cmdclass={"bdist_wheel": PlatformWheel})
