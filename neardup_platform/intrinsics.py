"""Processor instructions that the compiled loops need and numba does not offer."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def popcount(_context: Any, _word: Any) -> Any:
    """The number of set bits of a 64-bit word: LLVM's ctpop, which becomes VPOPCNTQ on processors that have it."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.call(builder.module.declare_intrinsic("llvm.ctpop", [ir.IntType(64)]), [arguments[0]])

    return types.uint64(types.uint64), generate


@intrinsic
def prefetch(_context: Any, rows: Any, _row: Any, _column: Any) -> Any:
    """Prefetch a word of a matrix: the rows to visit are far apart, and memory serves requests in parallel."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        array = context.make_array(kind)(context, builder, arguments[0])
        word = cgutils.get_item_pointer(context, builder, kind, array, arguments[1:], wraparound=False)
        address = builder.bitcast(word, ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        form = ir.FunctionType(ir.VoidType(), [address.type, number, number, number])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [address.type], form)
        builder.call(fetch, [address, *(ir.Constant(number, value) for value in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(rows, types.uint64, types.uint64), generate


@intrinsic
def single_of_half(_context: Any, _bits: Any) -> Any:
    """Convert a finite float16, given as its 16 bits, to float32; exact for subnormal numbers too.

    Sign, exponent and fraction move to their places in float32; multiplying by 2^(127−15) then corrects the exponent's
    bias. Every step is a vector instruction on any processor, whether or not it supports float16.
    """

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        word = ir.IntType(32)
        wide = builder.zext(arguments[0], word)
        sign = builder.shl(builder.and_(wide, word(0x8000)), word(16))
        rest = builder.shl(builder.and_(wide, word(0x7FFF)), word(13))
        biased = builder.bitcast(builder.or_(sign, rest), ir.FloatType())
        return builder.fmul(biased, ir.Constant(ir.FloatType(), 2.0**112))

    return types.float32(types.uint16), generate
