import ctypes

import pytest

from data_pipelines.reading import memory


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MALLOC_TRIM_THRESHOLD_", "131072"),
        ("MALLOC_MMAP_MAX_", "65536"),
        ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=131072"),
    ],
)
def test_what_the_user_has_said_of_memory_stands(name, value, monkeypatch):
    asked = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: asked.append(name))
    monkeypatch.setenv(name, value)
    memory.keep_freed()
    memory.keep_all()
    assert not asked
    monkeypatch.delenv(name)
    memory.keep_all()
    assert asked
