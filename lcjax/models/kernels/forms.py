"""One computation in several forms, of which each platform takes its own."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import jax

_plain: contextvars.ContextVar[bool] = contextvars.ContextVar("plain", default=False)


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """What is traced in the context does not ask for the platform: it is in the form of those without their own."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def by_platform(*operands: jax.Array, cpu: Callable[..., Any], default: Callable[..., Any]) -> Any:
    """What `cpu` makes of the operands where the program runs on a CPU, elsewhere what `default` makes of them."""
    if _plain.get():
        return default(*operands)
    return jax.lax.platform_dependent(*operands, cpu=cpu, default=default)
