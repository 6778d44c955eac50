"""What pyproject.toml cannot say: the Go sources, which lie beside the packages, are installed within nanonap."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["nanonap", "nanonap.*", "patcher", "patcher.*"]), "nanonap.gosrc"],
    package_dir={"nanonap.gosrc": "gosrc"},
)
