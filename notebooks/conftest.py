"""How the chapters are tested; see tests/chapters.py."""

from chapters import pytest_collectstart as pytest_collectstart
