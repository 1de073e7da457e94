"""Scan, sign, walk: the debit follows.

Everything is in the generated module; see the Rust documentation of the same names.
"""

from . import walkpay as _generated
from .walkpay import *  # noqa: F401,F403

__all__ = list(_generated.__all__)
