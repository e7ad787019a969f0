"""Array types for signatures: `Float[np.ndarray, "row width"]` is a type of jaxtyping.

Nothing evaluates a signature when a command runs, and loading jaxtyping takes 65 ms and 13 MB. So it is loaded by type
checkers, and by the tests, which import it first and check every stated shape; else the names stand for `Any`.
"""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or "jaxtyping" in sys.modules:
    from jaxtyping import (
        Bool,
        Float,
        Float32,
        Float64,
        Int,
        Int8,
        Int32,
        Int64,
        Integer,
        Num,
        Shaped,
        UInt8,
        UInt32,
        UInt64,
    )
else:

    class _Unchecked:
        def __class_getitem__(cls, shape: Any) -> Any:
            return Any

    Bool = Float = Float32 = Float64 = Int = Int8 = Int32 = Int64 = Integer = Num = Shaped = _Unchecked
    UInt8 = UInt32 = UInt64 = _Unchecked

__all__ = [
    "Bool",
    "Float",
    "Float32",
    "Float64",
    "Int",
    "Int8",
    "Int32",
    "Int64",
    "Integer",
    "Num",
    "Shaped",
    "UInt8",
    "UInt32",
    "UInt64",
]
