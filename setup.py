"""What setuptools needs to know beyond pyproject.toml: the extension modules and what they depend on at run time."""

from setuptools import setup

from build_native import setup_arguments

setup(**setup_arguments())
