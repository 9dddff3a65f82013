"""Names of files and folders as people, cameras and programs make them."""

import unicodedata

from hypothesis import strategies as st

# What people and cameras put into names, and what programs take for something else.
LETTERS = st.text(
    st.sampled_from("aZ09 .,;:=[]{}()*?!'\"\\`~$&#%@+-_|<>äßéñ中文😀\u0301"), min_size=1, max_size=40
) | st.text(min_size=1, max_size=255)
# Names that mean something to GDAL, a shell, a spreadsheet or a CSV.
_MEANING = ["HDF5:a", "zip:a", "WMS:a", "s2=a", "~", "-a", "=1+1", "a,b", 'a"b', "a;b", "%s", "{0}", "[1]", ".a"]


def possible(name: str) -> bool:
    """Whether a file system takes it."""
    return name not in (".", "..") and "/" not in name


def _usable(name: str) -> bool:
    """Whether lcjax takes it, in a table too: no control characters, all letters are UTF-8, no blank at either end."""
    plain = all(unicodedata.category(letter) not in ("Cc", "Cs") for letter in name)
    return plain and name == name.strip() and bool(name) and len(name.encode()) <= 100 and possible(name)


ANY_NAME = (st.sampled_from(_MEANING) | LETTERS).filter(_usable)
